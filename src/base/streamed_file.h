// Large files written once, from the start to the end, as fast as the disk takes them.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/file.h"

namespace conclave {

struct FreeAligned {
  void operator()(std::byte* block) const;
};
/// Memory that direct reads and writes take.
using AlignedBlock = std::unique_ptr<std::byte, FreeAligned>;

/// A thread of its own writes whole blocks past the page cache (where the file system lets it) while the caller makes
/// the next ones: nothing piles up in memory, and the sync at the end has little left to wait for. Holds three blocks
/// of 4 MiB. For one thread. Write errors (full disk) throw UserError from a later call, finish() at the latest.
class StreamedFile {
 public:
  /// kReadBack: finish() reads the whole file from the disk and compares it with checksums of what was given.
  enum class Check { kNone, kReadBack };
  explicit StreamedFile(const std::string& path, Check check = Check::kNone);
  /// Gives up what is not written yet, quietly, unless finish() was called.
  ~StreamedFile();
  StreamedFile(const StreamedFile&) = delete;
  StreamedFile& operator=(const StreamedFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Writes the rest, syncs, checks, closes.
  void finish();

 private:
  static constexpr size_t kBlocks = 3;
  OutputFile file_;
  Check check_;
  AlignedBlock blocks_[kBlocks];
  size_t filled_ = 0;                ///< bytes of the block that the caller fills
  std::vector<uint64_t> checksums_;  ///< of blocks, the writer's until it ends; empty without a check

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_. Block i lies in blocks_[i % kBlocks].
  int64_t handed_ = 0, written_ = 0;
  bool last_ = false, abandoned_ = false;
  std::exception_ptr failure_;
  std::thread writer_;  ///< begins with the first full block

  std::byte* block(int64_t index);
  void hand_over();
  void write_blocks();
  void write_out(std::span<const std::byte> bytes);
  void end_writer();
  void read_back(int64_t size) const;
};

}  // namespace conclave

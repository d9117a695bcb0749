// Files: whole reads and writes, read-only maps, appearing by rename, locks. Every failure names the path and the
// cause.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace conclave {

std::string read_file(const std::string& path);
/// Writes to PATH.tmp.PID, syncs, renames: the file is there whole or not at all.
void write_file_atomically(const std::string& path, std::string_view content);
/// rename(2), then syncs the parent directory.
void rename_durably(const std::string& from, const std::string& to);
void sync_directory(const std::string& path);
bool file_exists(const std::string& path);
bool is_directory(const std::string& path);
int64_t file_size(const std::string& path);
/// mkdir -p.
void make_directories(const std::string& path);
void remove_all(const std::string& path);

/// A file mapped read-only. Empty files map to an empty span.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  size_t size() const { return size_; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// A file opened for reading at offsets (pread): a file that shrinks or a disk that fails gives an error, not a signal.
/// Const members may be called from many threads at once.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Size at this moment.
  int64_t size() const;
  /// Fills `bytes` from `offset`; throws UserError if the file ends before that.
  void read_at(int64_t offset, std::span<std::byte> bytes) const;
  /// From here on reads go past the page cache, to what the disk holds, where the file system can: offset, size and
  /// address must be multiples of 4096, the size only where the file goes on that far. For one thread.
  void go_direct();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int fd_ = -1;
};

/// A file opened for writing from the start; write errors (full disk) throw UserError at once.
class OutputFile {
 public:
  enum class Mode { kTruncate, kAppend };
  explicit OutputFile(const std::string& path, Mode mode = Mode::kTruncate);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void write_at(int64_t offset, std::span<const std::byte> bytes);
  /// From here on writes go past the page cache, where the file system can: they must be multiples of 4096 bytes from
  /// memory aligned to that, at such an offset. go_buffered() takes it back.
  void go_direct();
  void go_buffered();
  void sync();
  /// Closes and reports what close(2) reports; the destructor closes quietly.
  void close();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int fd_ = -1;
};

/// Exclusive advisory lock on PATH (created if missing) for the object's life; blocks until free.
class FileLock {
 public:
  explicit FileLock(const std::string& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace conclave

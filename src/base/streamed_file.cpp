#include "base/streamed_file.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/error.h"
#include "base/hash.h"

namespace conclave {
namespace {

constexpr size_t kBlockBytes = size_t{4} << 20;
// Addresses and sizes that direct reads and writes take on every disk of today.
constexpr size_t kAlignment = 4096;

AlignedBlock aligned_block() {
  AlignedBlock block(static_cast<std::byte*>(std::aligned_alloc(kAlignment, kBlockBytes)));
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

}  // namespace

void FreeAligned::operator()(std::byte* block) const { std::free(block); }

StreamedFile::StreamedFile(const std::string& path, Check check) : file_(path), check_(check) {}

StreamedFile::~StreamedFile() {
  {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
  }
  end_writer();
}

std::byte* StreamedFile::block(int64_t index) {
  AlignedBlock& place = blocks_[static_cast<size_t>(index) % kBlocks];
  if (place == nullptr) place = aligned_block();
  return place.get();
}

void StreamedFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t count = std::min(bytes.size(), kBlockBytes - filled_);
    std::memcpy(block(handed_) + filled_, bytes.data(), count);
    filled_ += count;
    bytes = bytes.subspan(count);
    if (filled_ == kBlockBytes) hand_over();
  }
}

void StreamedFile::write(std::string_view text) {
  write(std::as_bytes(std::span<const char>(text.data(), text.size())));
}

// Gives the full block to the writer and waits until the next one is free.
void StreamedFile::hand_over() {
  if (!writer_.joinable()) {
    file_.go_direct();
    writer_ = std::thread([this] { write_blocks(); });
  }
  std::unique_lock lock(mutex_);
  ++handed_;
  filled_ = 0;
  changed_.notify_all();
  changed_.wait(lock, [this] { return failure_ != nullptr || handed_ - written_ < static_cast<int64_t>(kBlocks); });
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

void StreamedFile::write_out(std::span<const std::byte> bytes) {
  if (check_ == Check::kReadBack) checksums_.push_back(hash64(bytes));
  file_.write(bytes);
}

void StreamedFile::write_blocks() {
  try {
    for (size_t index = 0;; index = (index + 1) % kBlocks) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return abandoned_ || last_ || written_ < handed_; });
        if (abandoned_ || written_ == handed_) return;
      }
      write_out({blocks_[index].get(), kBlockBytes});
      const std::lock_guard lock(mutex_);
      ++written_;
      changed_.notify_all();
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    changed_.notify_all();
  }
}

void StreamedFile::end_writer() {
  {
    const std::lock_guard lock(mutex_);
    last_ = true;
    changed_.notify_all();
  }
  if (writer_.joinable()) writer_.join();
}

void StreamedFile::finish() {
  end_writer();
  if (failure_ != nullptr) std::rethrow_exception(failure_);
  const int64_t size = handed_ * static_cast<int64_t>(kBlockBytes) + static_cast<int64_t>(filled_);
  if (filled_ > 0) {
    // What fills no page cannot go past the page cache.
    file_.go_buffered();
    write_out({block(handed_), filled_});
  }
  file_.sync();
  if (check_ == Check::kReadBack) read_back(size);
  file_.close();
}

void StreamedFile::read_back(int64_t size) const {
  InputFile file(file_.path());
  CONCLAVE_USER_CHECK(file.size() == size, "'{}' has {} bytes, {} were written; did another program write there?",
                      file_.path(), file.size(), size);
  file.go_direct();
  const AlignedBlock into = aligned_block();
  constexpr auto kStep = static_cast<int64_t>(kBlockBytes);
  for (int64_t at = 0; at < size; at += kStep) {
    const std::span<std::byte> bytes(into.get(), static_cast<size_t>(std::min(kStep, size - at)));
    file.read_at(at, bytes);
    CONCLAVE_USER_CHECK(hash64(std::span<const std::byte>(bytes)) == checksums_[static_cast<size_t>(at / kStep)],
                        "bytes {} to {} of '{}', read back, are not what was written; is the disk damaged?", at,
                        at + static_cast<int64_t>(bytes.size()), file_.path());
  }
}

}  // namespace conclave

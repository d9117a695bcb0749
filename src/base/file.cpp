#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.h"

// Under the address sanitizer the rest of a map's last page is poisoned, so that reading past the end of the file is
// found.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONCLAVE_GUARD_MAPS 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define CONCLAVE_GUARD_MAPS 1
#endif
#ifdef CONCLAVE_GUARD_MAPS
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(address, size) static_cast<void>(0)
#endif

namespace conclave {
namespace {

[[maybe_unused]] size_t rest_of_page(size_t size) {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return (page - size % page) % page;
}

[[noreturn]] void fail(const char* what, const std::string& path) {
  const int code = errno;
  std::string advice;
  if (code == ENOSPC || code == EDQUOT) advice = "; free some space or choose another place";
  if (code == EACCES || code == EROFS || code == EPERM) advice = "; check the permissions of the file and its folder";
  if (code == ENOENT) advice = "; check the path";
  throw_user(fmt::format("cannot {} '{}': {}{}", what, path, std::strerror(code), advice));
}

// A file system that cannot go past its page cache refuses the flag; then all goes through it.
void set_direct(int fd) {
  if (const int flags = ::fcntl(fd, F_GETFL); flags >= 0) ::fcntl(fd, F_SETFL, flags | O_DIRECT);
}

// Whether the file went past the page cache until now; it does no more.
bool clear_direct(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_DIRECT) != 0 && ::fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

void write_all(int fd, const std::byte* data, size_t size, const std::string& path) {
  while (size > 0) {
    const ssize_t written = ::write(fd, data, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      // A file system that takes the flag and then not the write, or the rest of a write that was cut short.
      if (errno == EINVAL && clear_direct(fd)) continue;
      fail("write", path);
    }
    data += written;
    size -= static_cast<size_t>(written);
  }
}

std::string parent_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

std::string read_file(const std::string& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.size()};
}

void write_file_atomically(const std::string& path, std::string_view content) {
  const std::string temporary = fmt::format("{}.tmp.{}", path, ::getpid());
  OutputFile file(temporary);
  file.write(content);
  file.sync();
  file.close();
  rename_durably(temporary, path);
}

void rename_durably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail(fmt::format("rename '{}' to", from).c_str(), to);
  sync_directory(parent_of(to));
}

void sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail("open directory", path);
  const int status = ::fsync(fd);
  const int code = errno;
  ::close(fd);
  if (status != 0 && code != EINVAL) {  // EINVAL: a file system that cannot sync directories
    errno = code;
    fail("sync directory", path);
  }
}

bool file_exists(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

bool is_directory(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

int64_t file_size(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) fail("read the size of", path);
  return info.st_size;
}

void make_directories(const std::string& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) {
    errno = code.value();
    fail("create directory", path);
  }
}

void remove_all(const std::string& path) {
  std::error_code code;
  std::filesystem::remove_all(path, code);
  if (code) {
    errno = code.value();
    fail("remove", path);
  }
}

MappedFile::MappedFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("open", path);
  struct stat info;
  if (::fstat(fd, &info) != 0) {
    ::close(fd);
    fail("read the size of", path);
  }
  if (S_ISDIR(info.st_mode)) {
    ::close(fd);
    errno = EISDIR;
    fail("read", path);
  }
  size_ = static_cast<size_t>(info.st_size);
  if (size_ > 0) {
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) {
      ::close(fd);
      fail("map", path);
    }
    data_ = static_cast<const std::byte*>(address);
    ASAN_POISON_MEMORY_REGION(data_ + size_, rest_of_page(size_));
  }
  ::close(fd);
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  ASAN_UNPOISON_MEMORY_REGION(data_ + size_, rest_of_page(size_));
  ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

InputFile::InputFile(const std::string& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) fail("open", path);
}

InputFile::~InputFile() { ::close(fd_); }

int64_t InputFile::size() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) fail("read the size of", path_);
  return info.st_size;
}

void InputFile::read_at(int64_t offset, std::span<std::byte> bytes) const {
  std::byte* data = bytes.data();
  size_t left = bytes.size();
  while (left > 0) {
    const ssize_t got = ::pread(fd_, data, left, offset);
    if (got < 0) {
      if (errno == EINTR) continue;
      // The end of a file is no multiple.
      if (errno == EINVAL && clear_direct(fd_)) continue;
      fail("read", path_);
    }
    CONCLAVE_USER_CHECK(got > 0, "cannot read '{}': it ends at byte {}, {} more bytes were expected; the file shrank",
                        path_, offset, left);
    data += got;
    offset += got;
    left -= static_cast<size_t>(got);
  }
}

OutputFile::OutputFile(const std::string& path, Mode mode) : path_(path) {
  const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (mode == Mode::kAppend ? O_APPEND : O_TRUNC);
  fd_ = ::open(path.c_str(), flags, 0644);
  if (fd_ < 0) fail("open for writing", path);
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

void OutputFile::write(std::span<const std::byte> bytes) { write_all(fd_, bytes.data(), bytes.size(), path_); }

void OutputFile::write(std::string_view text) { write(std::as_bytes(std::span<const char>(text.data(), text.size()))); }

void OutputFile::write_at(int64_t offset, std::span<const std::byte> bytes) {
  const std::byte* data = bytes.data();
  size_t size = bytes.size();
  while (size > 0) {
    const ssize_t written = ::pwrite(fd_, data, size, offset);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("write", path_);
    }
    data += written;
    offset += written;
    size -= static_cast<size_t>(written);
  }
}

void InputFile::go_direct() { set_direct(fd_); }

void OutputFile::go_direct() { set_direct(fd_); }

void OutputFile::go_buffered() { clear_direct(fd_); }

void OutputFile::sync() {
  if (::fsync(fd_) != 0 && errno != EINVAL) fail("sync", path_);
}

void OutputFile::close() {
  const int fd = std::exchange(fd_, -1);
  if (fd >= 0 && ::close(fd) != 0) fail("close", path_);
}

FileLock::FileLock(const std::string& path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) fail("open lock file", path);
  while (::flock(fd_, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    ::close(fd_);
    fail("lock", path);
  }
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace conclave

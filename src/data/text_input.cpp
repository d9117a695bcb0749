#include "data/text_input.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace conclave {
namespace {

constexpr size_t kBlock = size_t{256} << 10;

[[noreturn]] void damaged(const std::string& path, std::string_view why) {
  throw_user(fmt::format("[data] '{}' is damaged: {}; fetch or compress it anew", path, why));
}

}  // namespace

/// A file and how its bytes become text.
class ByteSource {
 public:
  explicit ByteSource(const std::string& path) : file_(path), size_(file_.size()) {}
  virtual ~ByteSource() = default;
  virtual size_t read(std::span<char> out) = 0;

  int64_t position() const { return position_; }
  int64_t size() const { return size_; }
  const std::string& path() const { return file_.path(); }

 protected:
  /// Next bytes of the file itself; none at its end.
  size_t read_raw(std::span<char> out) {
    const size_t count = std::min(out.size(), static_cast<size_t>(size_ - position_));
    file_.read_at(position_, std::as_writable_bytes(out.first(count)));
    position_ += static_cast<int64_t>(count);
    return count;
  }
  /// Fills the block anew once it is used up; false at the end of the file.
  bool refill() {
    if (used_ < filled_) return true;
    block_.resize(kBlock);
    used_ = 0;
    filled_ = read_raw(block_);
    return filled_ > 0;
  }

  std::vector<char> block_;
  size_t used_ = 0;
  size_t filled_ = 0;

 private:
  InputFile file_;
  int64_t size_;
  int64_t position_ = 0;
};

namespace {

class PlainSource : public ByteSource {
 public:
  using ByteSource::ByteSource;
  size_t read(std::span<char> out) override { return read_raw(out); }
};

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(const std::string& path) : ByteSource(path) {
    CONCLAVE_CHECK(inflateInit2(&stream_, 15 + 16) == Z_OK, "zlib");
  }
  ~GzipSource() override { inflateEnd(&stream_); }

  size_t read(std::span<char> out) override {
    const size_t most = std::min(out.size(), size_t{1} << 30);
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(most);
    while (stream_.avail_out == most) {
      if (!refill()) {
        if (inside_) damaged(path(), "it ends in the middle of its compressed data");
        return 0;
      }
      if (!inside_ && !begin_member()) return 0;
      stream_.next_in = reinterpret_cast<Bytef*>(block_.data() + used_);
      stream_.avail_in = static_cast<uInt>(filled_ - used_);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      used_ = filled_ - stream_.avail_in;
      if (status == Z_STREAM_END) {
        inside_ = false;
      } else if (status != Z_OK) {
        damaged(path(), stream_.msg != nullptr ? stream_.msg : "no gzip data");
      }
    }
    return most - stream_.avail_out;
  }

 private:
  // Members may follow each other; zeros may fill up the end of the file.
  bool begin_member() {
    if (block_[used_] != '\0') {
      CONCLAVE_CHECK(inflateReset(&stream_) == Z_OK, "zlib");
      return inside_ = true;
    }
    do {
      for (; used_ < filled_; ++used_) {
        if (block_[used_] != '\0') damaged(path(), "something else follows its compressed data");
      }
    } while (refill());
    return false;
  }

  z_stream stream_ = {};
  bool inside_ = false;
};

class ZstandardSource : public ByteSource {
 public:
  explicit ZstandardSource(const std::string& path) : ByteSource(path), stream_(ZSTD_createDStream()) {
    CONCLAVE_CHECK(stream_ != nullptr, "zstd");
    ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, 31);  // files made with --long
  }
  ~ZstandardSource() override { ZSTD_freeDStream(stream_); }

  size_t read(std::span<char> out) override {
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    while (output.pos == 0) {
      if (!refill()) {
        if (inside_) damaged(path(), "it ends in the middle of its compressed data");
        return 0;
      }
      ZSTD_inBuffer input{block_.data(), filled_, used_};
      const size_t status = ZSTD_decompressStream(stream_, &output, &input);
      if (ZSTD_isError(status)) damaged(path(), ZSTD_getErrorName(status));
      used_ = input.pos;  // the last byte is not taken before all text is out
      inside_ = status != 0;
    }
    return output.pos;
  }

 private:
  ZSTD_DStream* stream_;
  bool inside_ = false;
};

}  // namespace

TextInput::TextInput(const std::string& path) {
  CONCLAVE_USER_CHECK(std::filesystem::exists(path), "[data] no file '{}'; check the path", path);
  CONCLAVE_USER_CHECK(std::filesystem::is_regular_file(path),
                      "[data] '{}' is a folder or no regular file; give files, or a pattern like '{}/*.jsonl'", path,
                      path);
  unsigned char magic[4] = {};
  {
    const InputFile file(path);
    const size_t count = static_cast<size_t>(std::min<int64_t>(4, file.size()));
    file.read_at(0, std::as_writable_bytes(std::span(magic).first(count)));
  }
  const bool frame = std::memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0;
  const bool skippable = (magic[0] & 0xf0) == 0x50 && std::memcmp(magic + 1, "\x2a\x4d\x18", 3) == 0;
  if (magic[0] == 0x1f && magic[1] == 0x8b) {
    source_ = std::make_unique<GzipSource>(path);
  } else if (frame || skippable) {
    source_ = std::make_unique<ZstandardSource>(path);
  } else {
    source_ = std::make_unique<PlainSource>(path);
  }
}

TextInput::~TextInput() = default;

size_t TextInput::read(std::span<char> out) { return out.empty() ? 0 : source_->read(out); }
int64_t TextInput::file_position() const { return source_->position(); }
int64_t TextInput::file_bytes() const { return source_->size(); }
const std::string& TextInput::path() const { return source_->path(); }

}  // namespace conclave

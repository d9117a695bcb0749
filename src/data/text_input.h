// The bytes of a text file that may be compressed: plain, gzip (RFC 1952) or Zstandard (RFC 8878), told by its first
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace conclave {

class ByteSource;

class TextInput {
 public:
  /// Throws UserError if there is no such regular file.
  explicit TextInput(const std::string& path);
  ~TextInput();
  TextInput(const TextInput&) = delete;
  TextInput& operator=(const TextInput&) = delete;

  /// Up to out.size() bytes of text, 0 at the end. Throws UserError if the compressed data are damaged or cut short.
  size_t read(std::span<char> out);
  /// Bytes of the file itself read so far, of all there are.
  int64_t file_position() const;
  int64_t file_bytes() const;
  const std::string& path() const;

 private:
  std::unique_ptr<ByteSource> source_;
};

}  // namespace conclave

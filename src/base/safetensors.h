// The safetensors file format: reading hostile files and writing.
// Layout: u64 little-endian header length N, N bytes of JSON {name: {dtype, shape, data_offsets:[begin,end]},
// "__metadata__": {...}}, data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/file.h"

namespace conclave {

/// One tensor of a mapped file; `bytes` points into the map.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  int64_t offset = 0;  ///< of `bytes`, from the start of the file

  int64_t element_count() const;
  /// Typed view; throws UserError on another dtype. The data may be unaligned in foreign files, so callers copy out.
  template <typename T>
  std::vector<T> to_vector() const;
};

/// A mapped file whose header was checked whole: sizes, overlaps, gaps, dtypes, duplicate names. Any damage throws
/// UserError that names the file and the fault. Never reads outside the file.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const SafetensorsEntry* find(std::string_view name) const;
  const SafetensorsEntry& at(std::string_view name) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  MappedFile file_;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
};

/// What is to be written, in file order.
struct SafetensorsItem {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
};

/// The bytes of the length word and header for `items` laid out one after the other; the header is padded with blanks
/// to 64 bytes.
std::string safetensors_header(const std::vector<SafetensorsItem>& items,
                               const std::map<std::string, std::string>& metadata = {});

}  // namespace conclave

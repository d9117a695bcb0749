#include "base/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/json.h"

namespace conclave {
namespace {

// The format's own limit; a longer header is hostile.
constexpr uint64_t kMaxHeader = 100'000'000;

[[noreturn]] void damaged(const std::string& path, const std::string& fault) {
  throw_user(fmt::format("'{}' is not a sound safetensors file: {}; fetch or write the file again", path, fault));
}

SafetensorsEntry parse_entry(const std::string& path, const std::string& name, const Json& value,
                             std::span<const std::byte> data) {
  SafetensorsEntry entry;
  entry.name = name;
  entry.dtype = dtype_from_name(value.at("dtype").as_string());
  int64_t count = 1;
  for (const Json& dimension : value.at("shape").as_array()) {
    const int64_t size = dimension.as_int();
    if (size < 0) damaged(path, fmt::format("tensor '{}' has a negative size {}", name, size));
    if (size != 0 && count > std::numeric_limits<int64_t>::max() / 16 / size)
      damaged(path, fmt::format("tensor '{}' is absurdly large", name));
    count *= size;
    entry.shape.push_back(size);
  }
  const Json& offsets = value.at("data_offsets");
  if (offsets.size() != 2)
    damaged(path, fmt::format("tensor '{}' needs two data_offsets, has {}", name, offsets.size()));
  const int64_t begin = offsets.at(size_t{0}).as_int(), end = offsets.at(size_t{1}).as_int();
  if (begin < 0 || end < begin || end > static_cast<int64_t>(data.size())) {
    damaged(path, fmt::format("tensor '{}' lies at bytes {} to {} of {} data bytes; the file may be cut short", name,
                              begin, end, data.size()));
  }
  const int64_t needed = count * dtype_size(entry.dtype);
  if (end - begin != needed) {
    damaged(path,
            fmt::format("tensor '{}' needs {} bytes by its shape, its offsets give {}", name, needed, end - begin));
  }
  entry.bytes = data.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  return entry;
}

// Entries must tile the data: no overlap, no gap, nothing after the last.
void check_tiling(const std::string& path, const std::vector<SafetensorsEntry>& entries,
                  std::span<const std::byte> data) {
  std::vector<const SafetensorsEntry*> order;
  for (const SafetensorsEntry& entry : entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return a->bytes.data() != b->bytes.data() ? a->bytes.data() < b->bytes.data() : a->bytes.size() < b->bytes.size();
  });
  const std::byte* expected = data.data();
  for (const SafetensorsEntry* entry : order) {
    if (entry->bytes.data() != expected) {
      damaged(path, fmt::format("tensor '{}' {} the one before it", entry->name,
                                entry->bytes.data() < expected ? "overlaps" : "leaves a gap after"));
    }
    expected = entry->bytes.data() + entry->bytes.size();
  }
  const auto covered = static_cast<size_t>(expected - data.data());
  if (covered != data.size()) damaged(path, fmt::format("{} data bytes belong to no tensor", data.size() - covered));
}

}  // namespace

int64_t SafetensorsEntry::element_count() const { return static_cast<int64_t>(bytes.size()) / dtype_size(dtype); }

template <typename T>
std::vector<T> SafetensorsEntry::to_vector() const {
  CONCLAVE_USER_CHECK(dtype == DTypeOf<T>::value, "tensor '{}' holds {}, {} was expected", name, dtype_name(dtype),
                      dtype_name(DTypeOf<T>::value));
  std::vector<T> values(static_cast<size_t>(element_count()));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}
template std::vector<double> SafetensorsEntry::to_vector<double>() const;
template std::vector<float> SafetensorsEntry::to_vector<float>() const;
template std::vector<BF16> SafetensorsEntry::to_vector<BF16>() const;
template std::vector<F16> SafetensorsEntry::to_vector<F16>() const;
template std::vector<int64_t> SafetensorsEntry::to_vector<int64_t>() const;
template std::vector<int32_t> SafetensorsEntry::to_vector<int32_t>() const;
template std::vector<int16_t> SafetensorsEntry::to_vector<int16_t>() const;
template std::vector<uint8_t> SafetensorsEntry::to_vector<uint8_t>() const;

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path), file_(path) {
  const std::span<const std::byte> bytes = file_.bytes();
  if (bytes.size() < 8)
    damaged(path, fmt::format("it has {} bytes, less than the 8 of the header length", bytes.size()));
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  if (length > kMaxHeader)
    damaged(path, fmt::format("its header claims {} bytes, more than the {} allowed", length, kMaxHeader));
  if (length > bytes.size() - 8)
    damaged(path,
            fmt::format("its header claims {} bytes, the file has {}; it may be cut short", length, bytes.size() - 8));
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, length);
  const std::span<const std::byte> data = bytes.subspan(8 + length);
  const Json root = Json::parse(header, fmt::format("header of '{}'", path));
  if (!root.is_object()) damaged(path, "its header is not a JSON object");
  for (const auto& [name, value] : root.as_object()) {
    if (name == "__metadata__") {
      for (const auto& [key, text] : value.as_object()) metadata_[key] = text.as_string();
      continue;
    }
    try {
      entries_.push_back(parse_entry(path, name, value, data));
    } catch (const UserError& error) {
      const std::string text = error.what();
      if (text.find(path) != std::string::npos) throw;
      damaged(path, fmt::format("tensor '{}': {}", name, text));
    }
    if (!index_.emplace(name, entries_.size() - 1).second) damaged(path, fmt::format("tensor '{}' stands twice", name));
  }
  check_tiling(path, entries_, data);
  for (SafetensorsEntry& entry : entries_) entry.offset = entry.bytes.data() - bytes.data();
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

const SafetensorsEntry& SafetensorsFile::at(std::string_view name) const {
  const SafetensorsEntry* entry = find(name);
  CONCLAVE_USER_CHECK(entry != nullptr, "'{}' has no tensor '{}'", path_, name);
  return *entry;
}

std::string safetensors_header(const std::vector<SafetensorsItem>& items,
                               const std::map<std::string, std::string>& metadata) {
  Json root = Json::object();
  if (!metadata.empty()) {
    Json values = Json::object();
    for (const auto& [key, text] : metadata) values[key] = text;
    root["__metadata__"] = values;
  }
  // Built as a list: operator[] searches, which would be quadratic in the number of tensors.
  auto& object = const_cast<Json::Object&>(root.as_object());
  int64_t offset = 0;
  for (const SafetensorsItem& item : items) {
    int64_t count = 1;
    Json shape = Json::array();
    for (const int64_t size : item.shape) {
      count *= size;
      shape.push_back(size);
    }
    const int64_t end = offset + count * dtype_size(item.dtype);
    Json value = Json::object();
    value["dtype"] = dtype_safetensors_name(item.dtype);
    value["shape"] = shape;
    value["data_offsets"] = Json(Json::Array{Json(offset), Json(end)});
    object.emplace_back(item.name, std::move(value));
    offset = end;
  }
  std::string header = root.dump();
  header.resize(static_cast<size_t>(round_up(static_cast<int64_t>(header.size()) + 8, 64) - 8), ' ');
  const auto length = static_cast<uint64_t>(header.size());
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header;
}

}  // namespace conclave

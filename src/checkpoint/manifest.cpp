#include "checkpoint/manifest.h"

#include <charconv>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "checkpoint/box_overlap.h"

namespace conclave {
namespace {

// The manifest's text starts with this and 16 digits, which count as zeros in the sum.
constexpr std::string_view kSealStart = "{\n  \"xxh3\": \"";
constexpr std::string_view kNoSeal = "0000000000000000";

[[noreturn]] void damaged(const std::string& path, const std::string& fault) {
  throw_user(fmt::format("'{}' is damaged: {}", path, fault));
}

uint64_t parse_hex64(const std::string& text, const std::string& path) {
  uint64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (code != std::errc() || end != text.data() + text.size() || text.size() != 16)
    damaged(path, fmt::format("'{}' is no checksum of 16 hexadecimal digits", text));
  return value;
}

Json sizes_json(const std::vector<int64_t>& sizes) {
  Json out = Json::array();
  for (const int64_t size : sizes) out.push_back(size);
  return out;
}

std::vector<int64_t> parse_sizes(const Json& value) {
  std::vector<int64_t> out;
  for (const Json& size : value.as_array()) out.push_back(size.as_int());
  return out;
}

// A file beside the index: a plain name, so that an index cannot point elsewhere.
std::string parse_file_name(const Json& value, const std::string& path) {
  const std::string& name = value.as_string();
  if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos)
    damaged(path, fmt::format("'{}' is no plain file name", name));
  return name;
}

// Elements of `shape`, if the bytes of any element type fit in 63 bits.
int64_t checked_count(const std::vector<int64_t>& shape, const std::string& tensor, const std::string& path) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0) damaged(path, fmt::format("tensor '{}' has a negative size {}", tensor, size));
    if (size != 0 && count > std::numeric_limits<int64_t>::max() / 16 / size)
      damaged(path, fmt::format("tensor '{}' is absurdly large", tensor));
    count *= size;
  }
  return count;
}

StoredBox parse_box(const Json& value, const IndexedTensor& tensor, const std::string& path) {
  StoredBox stored;
  stored.box = {parse_sizes(value.at("begin")), parse_sizes(value.at("size"))};
  if (!box_fits(stored.box, tensor.shape))
    damaged(path, fmt::format("a box of tensor '{}' lies outside its shape", tensor.name));
  stored.file = parse_file_name(value.at("file"), path);
  stored.offset = value.at("offset").as_int();
  stored.bytes = value.at("bytes").as_int();
  const int64_t needed = stored.box.element_count() * dtype_size(tensor.dtype);
  if (stored.bytes != needed) {
    damaged(path, fmt::format("box {} of tensor '{}' needs {} bytes, {} are given", box_text(stored.box), tensor.name,
                              needed, stored.bytes));
  }
  for (const Json& sum : value.at("xxh3").as_array()) stored.checksums.push_back(parse_hex64(sum.as_string(), path));
  if (static_cast<int64_t>(stored.checksums.size()) != ceil_div(stored.bytes, kChecksumBytes)) {
    damaged(path, fmt::format("box {} of tensor '{}' has {} checksums for {} bytes", box_text(stored.box), tensor.name,
                              stored.checksums.size(), stored.bytes));
  }
  return stored;
}

IndexedTensor parse_tensor(const Json& value, const std::string& path) {
  IndexedTensor tensor;
  tensor.name = value.at("name").as_string();
  tensor.dtype = dtype_from_name(value.at("dtype").as_string());
  tensor.shape = parse_sizes(value.at("shape"));
  checked_count(tensor.shape, tensor.name, path);
  for (const Json& box : value.at("boxes").as_array()) tensor.boxes.push_back(parse_box(box, tensor, path));
  std::vector<const Box*> boxes;
  for (const StoredBox& stored : tensor.boxes) boxes.push_back(&stored.box);
  if (const std::string overlap = overlap_fault(boxes); !overlap.empty())
    damaged(path, fmt::format("boxes {} of tensor '{}' overlap", overlap, tensor.name));
  return tensor;
}

Json tensors_json(const std::vector<IndexedTensor>& indexed) {
  Json tensors = Json::array();
  for (const IndexedTensor& tensor : indexed) {
    Json entry = Json::object();
    entry["name"] = tensor.name;
    entry["dtype"] = dtype_safetensors_name(tensor.dtype);
    entry["shape"] = sizes_json(tensor.shape);
    Json boxes = Json::array();
    for (const StoredBox& stored : tensor.boxes) {
      Json box = Json::object();
      box["begin"] = sizes_json(stored.box.begin);
      box["size"] = sizes_json(stored.box.size);
      box["file"] = stored.file;
      box["offset"] = stored.offset;
      box["bytes"] = stored.bytes;
      Json sums = Json::array();
      for (const uint64_t sum : stored.checksums) sums.push_back(hex64(sum));
      box["xxh3"] = std::move(sums);
      boxes.push_back(std::move(box));
    }
    entry["boxes"] = std::move(boxes);
    tensors.push_back(std::move(entry));
  }
  return tensors;
}

// Header and boxes must fill each file: nothing outside, nothing twice, nothing without a checksum.
void check_files(const RankIndex& index, const std::string& path) {
  std::map<std::string, const IndexedFile*> files;
  std::map<std::string, std::map<int64_t, int64_t>> places;  // file -> begin -> end
  for (const IndexedFile& file : index.files) {
    if (!files.emplace(file.name, &file).second) damaged(path, fmt::format("file '{}' stands twice", file.name));
    if (file.header_bytes < 8 || file.bytes < file.header_bytes)
      damaged(path, fmt::format("file '{}' has {} header bytes of {}", file.name, file.header_bytes, file.bytes));
    places[file.name][0] = file.header_bytes;
  }
  std::set<std::string_view> names;
  for (const IndexedTensor& tensor : index.tensors) {
    if (!names.insert(tensor.name).second) damaged(path, fmt::format("tensor '{}' stands twice", tensor.name));
    for (const StoredBox& stored : tensor.boxes) {
      if (!files.contains(stored.file))
        damaged(path, fmt::format("tensor '{}' lies in '{}', which is not listed", tensor.name, stored.file));
      if (stored.bytes == 0) continue;
      if (stored.offset < 0 || stored.offset > files[stored.file]->bytes - stored.bytes ||
          !places[stored.file].emplace(stored.offset, stored.offset + stored.bytes).second) {
        damaged(path, fmt::format("tensor '{}' lies outside '{}' or on another tensor", tensor.name, stored.file));
      }
    }
  }
  for (const auto& [name, ranges] : places) {
    int64_t end = 0;
    for (const auto& [begin, next] : ranges) {
      if (begin != end) damaged(path, fmt::format("'{}' is not filled at byte {}", name, std::min(begin, end)));
      end = next;
    }
    if (end != files[name]->bytes) damaged(path, fmt::format("'{}' is not filled at byte {}", name, end));
  }
}

// Puts the path before errors of the JSON access underneath.
template <typename Parse>
auto with_path(const std::string& path, const Parse& parse) {
  try {
    return parse();
  } catch (const UserError& error) {
    const std::string text = error.what();
    if (text.find(path) != std::string::npos) throw;
    damaged(path, text);
  }
}

}  // namespace

std::string rank_index_name(int64_t rank) { return fmt::format("rank_{:05}.index.json", rank); }

std::string rank_file_name(int64_t rank, int64_t part, int64_t parts) {
  if (parts == 1) return fmt::format("rank_{:05}.safetensors", rank);
  return fmt::format("rank_{:05}.part_{:03}.safetensors", rank, part);
}

std::string rank_index_text(const RankIndex& index) {
  Json root = Json::object();
  root["schema"] = kCheckpointSchema;
  root["rank"] = index.rank;
  root["checksum_bytes"] = kChecksumBytes;
  Json files = Json::array();
  for (const IndexedFile& file : index.files) {
    Json entry = Json::object();
    entry["name"] = file.name;
    entry["bytes"] = file.bytes;
    entry["header_bytes"] = file.header_bytes;
    entry["header_xxh3"] = hex64(file.header_checksum);
    files.push_back(std::move(entry));
  }
  root["files"] = std::move(files);
  root["tensors"] = tensors_json(index.tensors);
  return root.dump() + "\n";
}

RankIndex parse_rank_index(std::string_view text, const std::string& path) {
  return with_path(path, [&] {
    const Json root = Json::parse(text, fmt::format("'{}'", path));
    RankIndex index;
    if (const int64_t schema = root.at("schema").as_int(); schema != kCheckpointSchema)
      damaged(path, fmt::format("its schema is {}, this program knows {}", schema, kCheckpointSchema));
    if (const int64_t bytes = root.at("checksum_bytes").as_int(); bytes != kChecksumBytes)
      damaged(path, fmt::format("its checksums are over {} bytes, {} were expected", bytes, kChecksumBytes));
    index.rank = root.at("rank").as_int();
    for (const Json& value : root.at("files").as_array()) {
      index.files.push_back({parse_file_name(value.at("name"), path), value.at("bytes").as_int(),
                             value.at("header_bytes").as_int(),
                             parse_hex64(value.at("header_xxh3").as_string(), path)});
    }
    for (const Json& value : root.at("tensors").as_array()) index.tensors.push_back(parse_tensor(value, path));
    check_files(index, path);
    return index;
  });
}

std::string tensors_text(const std::vector<IndexedTensor>& tensors) { return tensors_json(tensors).dump(); }

std::vector<IndexedTensor> parse_tensors(std::string_view text, const std::string& path) {
  return with_path(path, [&] {
    std::vector<IndexedTensor> tensors;
    const Json root = Json::parse(text, fmt::format("'{}'", path));
    for (const Json& value : root.as_array()) tensors.push_back(parse_tensor(value, path));
    return tensors;
  });
}

std::string manifest_text(const Manifest& manifest) {
  Json root = Json::object();
  root["xxh3"] = kNoSeal;
  root["format"] = "conclave checkpoint";
  root["schema"] = kCheckpointSchema;
  root["iteration"] = manifest.iteration;
  root["world_size"] = static_cast<int64_t>(manifest.ranks.size());
  root["tensor_bytes"] = manifest.tensor_bytes;
  root["time"] = manifest.time;
  Json ranks = Json::array();
  for (const RankEntry& rank : manifest.ranks) {
    Json entry = Json::object();
    entry["index"] = rank.index;
    entry["bytes"] = rank.bytes;
    entry["xxh3"] = hex64(rank.checksum);
    ranks.push_back(std::move(entry));
  }
  root["ranks"] = std::move(ranks);
  root["state"] = manifest.state;
  std::string text = root.dump(2) + "\n";
  CONCLAVE_CHECK(text.starts_with(std::string(kSealStart) + std::string(kNoSeal)), "unexpected start of a manifest");
  text.replace(kSealStart.size(), kNoSeal.size(), hex64(hash64(text)));
  return text;
}

Manifest parse_manifest(std::string_view text, const std::string& path) {
  return with_path(path, [&] {
    if (!text.starts_with(kSealStart) || text.size() < kSealStart.size() + kNoSeal.size())
      damaged(path, "it does not begin with its checksum");
    std::string plain(text);
    plain.replace(kSealStart.size(), kNoSeal.size(), kNoSeal);
    if (hex64(hash64(plain)) != text.substr(kSealStart.size(), kNoSeal.size()))
      damaged(path, "its text does not match its checksum (cut short or changed)");
    const Json root = Json::parse(text, fmt::format("'{}'", path));
    if (const int64_t schema = root.at("schema").as_int(); schema != kCheckpointSchema) {
      throw_user(fmt::format("'{}' has schema {}, this program knows {}; use the version of Conclave that wrote it",
                             path, schema, kCheckpointSchema));
    }
    Manifest manifest;
    manifest.iteration = root.at("iteration").as_int();
    manifest.tensor_bytes = root.at("tensor_bytes").as_int();
    manifest.time = root.at("time").as_double();
    for (const Json& value : root.at("ranks").as_array()) {
      manifest.ranks.push_back({parse_file_name(value.at("index"), path), value.at("bytes").as_int(),
                                parse_hex64(value.at("xxh3").as_string(), path)});
    }
    if (manifest.ranks.empty()) damaged(path, "it names no rank");
    manifest.state = root.at("state");
    return manifest;
  });
}

}  // namespace conclave

// The two kinds of JSON in a checkpoint directory: each rank's index (tensor -> boxes -> bytes of a file, with
// checksums), and the manifest, which names the indexes. Format: docs/file-formats.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/json.h"
#include "tensor/shard.h"

namespace conclave {

inline constexpr int64_t kCheckpointSchema = 1;
inline constexpr const char* kManifestFile = "manifest.json";
/// Each stretch of this many bytes of a box (the last one may be shorter) has a checksum of its own, so that a part of
/// a box can be read and checked alone.
inline constexpr int64_t kChecksumBytes = int64_t{4} << 20;

/// A box in a safetensors file.
struct StoredBox {
  Box box;
  std::string file;                 ///< name beside the index
  int64_t offset = 0;               ///< from the start of the file
  int64_t bytes = 0;                ///< row-major elements
  std::vector<uint64_t> checksums;  ///< XXH3 of each kChecksumBytes
};

struct IndexedTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  ///< global
  std::vector<StoredBox> boxes;
};

struct IndexedFile {
  std::string name;
  int64_t bytes = 0;
  int64_t header_bytes = 0;  ///< length word and header
  uint64_t header_checksum = 0;
};

struct RankIndex {
  int64_t rank = 0;
  std::vector<IndexedFile> files;
  std::vector<IndexedTensor> tensors;
};

/// How the manifest names an index.
struct RankEntry {
  std::string index;  ///< file name
  int64_t bytes = 0;
  uint64_t checksum = 0;
};

struct Manifest {
  int64_t iteration = 0;
  int64_t tensor_bytes = 0;  ///< of all ranks
  double time = 0;           ///< Unix seconds
  std::vector<RankEntry> ranks;
  Json state;
};

std::string rank_index_name(int64_t rank);  ///< "rank_00003.index.json"
std::string rank_file_name(int64_t rank, int64_t part,
                           int64_t parts);  ///< "rank_00003.safetensors", "rank_00003.part_001.safetensors"

std::string rank_index_text(const RankIndex& index);
/// UserError naming `path` and the fault: bad JSON, fields that contradict each other, places outside a file.
RankIndex parse_rank_index(std::string_view text, const std::string& path);

/// Tensors alone, in the form they have in an index.
std::string tensors_text(const std::vector<IndexedTensor>& tensors);
std::vector<IndexedTensor> parse_tensors(std::string_view text, const std::string& path);

/// Begins with the checksum of the text itself.
std::string manifest_text(const Manifest& manifest);
/// UserError naming `path` if it was changed, is incomplete or has a schema that is not known.
Manifest parse_manifest(std::string_view text, const std::string& path);

}  // namespace conclave

// What a checkpoint directory holds, box by box, and reading from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/manifest.h"
#include "checkpoint/reader.h"

namespace conclave {

/// A tensor as far as the indexes read so far tell.
struct TensorRecord {
  StoredTensor info;
  std::vector<StoredBox> boxes;
  bool tiling_checked = false;
};

/// Reads the manifest at once, the ranks' indexes as they are needed, and bytes on request. Damage throws UserError
/// with file, tensor and advice. For one thread.
class StoredPieces {
 public:
  StoredPieces(const std::string& directory, bool verify_checksums);

  const std::string& directory() const { return directory_; }
  const Manifest& manifest() const { return manifest_; }
  const std::map<std::string, TensorRecord>& records() const { return contents_.records; }

  void load_all();
  /// The record of `name`; looks into the index of `first_rank` before the others. nullptr if no rank has it.
  const TensorRecord* find(const std::string& name, int64_t first_rank);
  /// Sees to it that the boxes read so far cover `wanted`; if they do not, reads all indexes and checks that the boxes
  /// tile the tensor.
  void make_available(const TensorRecord& record, const ShardSpec& wanted);
  /// One rank's index, whole and right.
  RankIndex checked_index(int64_t rank) const;
  /// UserError: `fault`, and what a person can do.
  [[noreturn]] void throw_damaged(const std::string& fault) const;
  /// Copies one wanted box (made available before), row-major.
  void read(const TensorRecord& record, const Box& wanted, std::span<std::byte> destination);
  /// Boxes one after the other into a tensor on any device; done on return. On `sim` nothing is read.
  void read(const TensorRecord& record, const ShardSpec& wanted, const Stream& stream, const Tensor& destination);
  /// Everything that is wrong anywhere.
  std::vector<CheckpointFault> verify();

 private:
  struct Contents {
    std::map<std::string, TensorRecord> records;
    std::map<std::string, IndexedFile> files;
  };
  std::string directory_;
  bool verify_checksums_;
  Manifest manifest_;
  std::set<int64_t> loaded_;
  Contents contents_;
  std::map<std::string, std::unique_ptr<InputFile>> open_files_;
  // The stretch read last: neighbouring rows mostly lie in the same one.
  std::vector<std::byte> stretch_;
  std::string stretch_file_;
  int64_t stretch_offset_ = -1;

  std::string path_of(const std::string& file) const { return directory_ + "/" + file; }
  RankIndex read_index(int64_t rank) const;
  void merge(RankIndex index, Contents& contents) const;
  void load(int64_t rank);
  const InputFile& open(const std::string& name);
  // One checksummed stretch of a box, whole.
  void read_stretch(const StoredBox& stored, int64_t index, std::span<std::byte> out);
  // Bytes of a box from `begin` on.
  void copy_range(const StoredBox& stored, int64_t begin, std::span<std::byte> out);
  bool verify_file(const IndexedFile& file, std::vector<CheckpointFault>& faults);
  void verify_box(const std::string& tensor, const StoredBox& stored, std::vector<CheckpointFault>& faults);
};

}  // namespace conclave

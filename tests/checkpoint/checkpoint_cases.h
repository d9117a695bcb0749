// Tensors with known contents, cut into boxes at random; folders that go away.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_tensor.h"
#include "checkpoint/manifest.h"
#include "checkpoint/reader.h"

namespace conclave::cases {

/// A fresh folder, removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// What one rank holds of one tensor.
struct Held {
  std::string name;
  DType dtype = DType::kF32;
  ShardSpec shard;
  std::vector<std::byte> bytes;
  CheckpointTensor as_tensor() const { return CheckpointTensor::from_bytes(name, dtype, shard, bytes); }
};
/// The bytes are a function of (name, iteration, place in the global tensor).
Held hold(const StoredTensor& tensor, const ShardSpec& shard, int64_t iteration);
std::vector<CheckpointTensor> as_tensors(const std::vector<Held>& held);

/// Scalars, empty tensors, odd sizes, several element types, up to four axes.
std::vector<StoredTensor> some_tensors();
/// Boxes that tile `shape`, made by cutting at random places and flat ranges, dealt to `ranks` ranks.
std::vector<ShardSpec> random_split(const std::vector<int64_t>& shape, int64_t ranks, std::mt19937& random);

/// Writes a checkpoint of `iteration` with `ranks` parts cut at random; returns its directory.
std::string write_split(const std::string& run_directory, int64_t iteration, int64_t ranks, std::mt19937& random,
                        int64_t file_bytes = int64_t{1} << 40);
/// The same with everything on one rank.
std::string write_whole(const std::string& run_directory, int64_t iteration);

/// Text of what is wrong with the contents as of `iteration`, read through `shards`; empty if nothing.
std::string contents_fault(const CheckpointReader& reader, const std::string& name, const ShardSpec& shard,
                           int64_t iteration);
/// All tensors of some_tensors(), whole.
std::string contents_fault(const CheckpointReader& reader, int64_t iteration);

/// The text of the UserError that `work` throws; "no error" if it throws none.
template <typename Work>
std::string error_text(const Work& work) {
  try {
    work();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace conclave::cases

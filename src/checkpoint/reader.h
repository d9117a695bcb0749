// Loading: any boxes of any tensor from whatever boxes are stored. Memory beyond the destination is one small buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/json.h"
#include "tensor/shard.h"
#include "tensor/tensor.h"

namespace conclave {

struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  ///< global
  int64_t element_count() const;
  int64_t bytes() const { return element_count() * dtype_size(dtype); }
};

struct CheckpointReaderSettings {
  bool verify_checksums = true;
  /// Whose index to look in first: with the layout of the save, a rank needs no other. Others are read on demand.
  int64_t first_rank = 0;
};

/// Something wrong in a checkpoint.
struct CheckpointFault {
  std::string file;
  std::string tensor;  ///< empty if it concerns the file as a whole
  std::string text;
};

/// One complete checkpoint, opened. Damage of any kind (missing, cut short or changed files, missing tensors, another
/// shape, boxes that overlap or leave a hole) throws UserError naming file, tensor and what to do.
class CheckpointReader {
 public:
  explicit CheckpointReader(const std::string& checkpoint_directory, const CheckpointReaderSettings& settings = {});
  ~CheckpointReader();
  CheckpointReader(const CheckpointReader&) = delete;
  CheckpointReader& operator=(const CheckpointReader&) = delete;

  const std::string& directory() const;
  int64_t iteration() const;
  int64_t world_size() const;  ///< ranks that wrote it
  const Json& state() const;   ///< what save() was given
  double time() const;         ///< when it was written, Unix seconds
  int64_t tensor_bytes() const;

  /// All tensors, sorted by name.
  const std::vector<StoredTensor>& tensors() const;
  /// nullptr if there is no such tensor.
  const StoredTensor* find(const std::string& name) const;
  const StoredTensor& at(const std::string& name) const;

  /// Copies the wanted boxes, one after the other, to host memory. `wanted.global_shape` must be the stored one and
  /// `destination` as long as wanted.element_count() elements of the stored dtype.
  void read(const std::string& name, const ShardSpec& wanted, std::span<std::byte> destination) const;
  /// The same into a tensor of the stored dtype on any device. On `sim` only shapes are checked.
  void read(const std::string& name, const ShardSpec& wanted, const Stream& stream, const Tensor& destination) const;
  void read_whole(const std::string& name, const Stream& stream, const Tensor& destination) const;

  /// Reads every byte of every file against its checksum, and checks that boxes tile their tensors.
  std::vector<CheckpointFault> verify() const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

/// Opens and verifies; damage that keeps it from opening is a fault too, never an exception.
std::vector<CheckpointFault> verify_checkpoint(const std::string& checkpoint_directory);

}  // namespace conclave

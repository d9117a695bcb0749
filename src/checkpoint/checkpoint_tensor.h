// What a rank gives to a save.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "base/dtype.h"
#include "tensor/shard.h"
#include "tensor/tensor.h"

namespace conclave {

/// The boxes of one logical tensor that this rank writes. Each element of the global tensor must be written by exactly
/// one rank: of replicas, one lists it and the others leave it out.
struct CheckpointTensor {
  std::string name;  ///< given several times, with other boxes each time, it is one tensor
  DType dtype = DType::kF32;
  ShardSpec shard;  ///< global shape and the boxes, in the order of the data
  // The data, boxes one after the other: a tensor of shard.element_count() elements, host bytes, or a function that
  // gives bytes from an offset on.
  Tensor tensor;
  std::span<const std::byte> host;
  std::function<void(int64_t offset, std::span<std::byte> out)> source;

  /// A tensor that is held whole.
  static CheckpointTensor whole(std::string name, const Tensor& tensor);
  static CheckpointTensor sharded(std::string name, ShardSpec shard, const Tensor& tensor);
  /// Host bytes that stay valid during the call of save().
  static CheckpointTensor from_bytes(std::string name, DType dtype, ShardSpec shard, std::span<const std::byte> bytes);

  /// Bytes made while they are written, in order and in pieces: nothing is held whole. The function is called during
  /// save(), so only SaveMode::kNow takes such tensors.
  static CheckpointTensor from_source(std::string name, DType dtype, ShardSpec shard,
                                      std::function<void(int64_t offset, std::span<std::byte> out)> source);

  int64_t bytes() const { return shard.element_count() * dtype_size(dtype); }
  /// Host memory that holds the data already; nullptr if it must be copied from a device.
  const std::byte* host_data() const;
  /// Copies bytes [offset, offset + out.size()) of the data; done on return.
  void copy_bytes(int64_t offset, std::span<std::byte> out) const;
};

}  // namespace conclave

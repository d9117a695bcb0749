#include "checkpoint/checkpoint_tensor.h"

#include <cstring>

#include "base/error.h"

namespace conclave {

CheckpointTensor CheckpointTensor::whole(std::string name, const Tensor& tensor) {
  return sharded(std::move(name), ShardSpec::whole(tensor.shape().to_vector()), tensor);
}

CheckpointTensor CheckpointTensor::sharded(std::string name, ShardSpec shard, const Tensor& tensor) {
  CONCLAVE_CHECK(tensor.element_count() == shard.element_count(), "tensor '{}' has {} elements, its boxes {}", name,
                 tensor.element_count(), shard.element_count());
  return {std::move(name), tensor.dtype(), std::move(shard), tensor, {}, {}};
}

CheckpointTensor CheckpointTensor::from_bytes(std::string name, DType dtype, ShardSpec shard,
                                              std::span<const std::byte> bytes) {
  CONCLAVE_CHECK(static_cast<int64_t>(bytes.size()) == shard.element_count() * dtype_size(dtype),
                 "tensor '{}' has {} bytes, its boxes need {}", name, bytes.size(),
                 shard.element_count() * dtype_size(dtype));
  return {std::move(name), dtype, std::move(shard), {}, bytes, {}};
}

CheckpointTensor CheckpointTensor::from_source(std::string name, DType dtype, ShardSpec shard,
                                               std::function<void(int64_t, std::span<std::byte>)> source) {
  return {std::move(name), dtype, std::move(shard), {}, {}, std::move(source)};
}

const std::byte* CheckpointTensor::host_data() const {
  if (source) return nullptr;
  if (!tensor.defined()) return host.data();
  return tensor.device().kind() == DeviceKind::kCpu ? tensor.raw() : nullptr;
}

void CheckpointTensor::copy_bytes(int64_t offset, std::span<std::byte> out) const {
  if (out.empty()) return;
  if (source) {
    source(offset, out);
    return;
  }
  if (const std::byte* data = host_data(); data != nullptr) {
    std::memcpy(out.data(), data + offset, out.size());
    return;
  }
  Device& device = tensor.device();
  CONCLAVE_CHECK(!device.is_sim(), "tensor '{}' on sim holds no data to save", name);
  device.copy_to_host(device.default_stream(), out.data(), tensor.raw() + offset, static_cast<int64_t>(out.size()));
  device.synchronize();
}

}  // namespace conclave

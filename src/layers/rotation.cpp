#include "kernels/rope.h"
#include "layers/self_attention.h"

namespace conclave {

Rotation::Rotation(Device& device, const RopeConfig& config) : config_(config) {
  const auto count = static_cast<int64_t>(config.frequencies.size());
  frequencies_ =
      from_host<float>(device, {count}, config.frequencies, {MemoryCategory::kWorkspace, "rope.frequencies"});
}

void Rotation::turn(const Context& context, const Tensor& x, bool inverse) const {
  kernels::rope(context.stream, {.x = x,
                                 .positions = context.batch.positions,
                                 .frequencies = frequencies_,
                                 .interleaved = config_.interleaved,
                                 .inverse = inverse,
                                 .scale = config_.scale});
}

}  // namespace conclave

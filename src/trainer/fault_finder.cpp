#include "trainer/fault_finder.h"

#include "kernels/elementwise.h"

namespace conclave {

void FaultFinder::see(const Stream& stream, const std::string& where, const Tensor& tensor) {
  if (found() || (tensor.dtype() != DType::kF32 && tensor.dtype() != DType::kBF16)) return;
  const Tensor count = Tensor::empty(stream.device(), {1}, DType::kI64, {MemoryCategory::kWorkspace, "fault finder"});
  kernels::count_nonfinite(stream, {.x = tensor, .count = count});
  const int64_t bad = to_host<int64_t>(stream, count)[0];
  if (bad == 0) {
    last_good_ = where;
    return;
  }
  first_ = fmt::format("{} {}: {} of {} values", where, tensor.shape().to_string(), bad, tensor.element_count());
}

std::string FaultFinder::text() const {
  if (!found())
    return "none in any activation or input gradient, so it is in a weight gradient, the loss or the labels";
  return first_ + (last_good_.empty() ? "" : fmt::format(" (sound until {})", last_good_));
}

}  // namespace conclave

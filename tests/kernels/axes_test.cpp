#include "kernels/axes.h"

#include "kernels/op_check.h"
#include "kernels/ref/axes.h"

namespace conclave::kernels {
namespace {

CheckedCase swap_case(DType dtype, int64_t a, int64_t b, int64_t w) {
  CheckedCase checked;
  checked.op.name = fmt::format("swap_{}_{}x{}x{}", dtype_name(dtype), a, b, w);
  checked.op.input("x", dtype, {a, b, w}, normal());
  checked.op.output("y", dtype, {b, a, w}, exact());
  checked.op.run = [](const Stream& stream, const OpTensors& t) { swap_axes(stream, {t["x"], t["y"]}); };
  checked.reference = [=](OpValues& v) { ref::swap_axes(a, b, w, v.data("x"), v.data("y")); };
  return checked;
}

INSTANTIATE_TEST_SUITE_P(Axes, OpCheck,
                         ::testing::Values(swap_case(DType::kF32, 0, 3, 4), swap_case(DType::kF32, 1, 1, 1),
                                           swap_case(DType::kBF16, 3, 5, 7), swap_case(DType::kF32, 7, 2, 130),
                                           swap_case(DType::kBF16, 40, 9, 64)),
                         case_name);

}  // namespace
}  // namespace conclave::kernels

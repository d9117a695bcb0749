#include "kernels/attention_merge.h"

#include <cmath>
#include <limits>

#include "kernels/op_check.h"
#include "kernels/ref/attention_merge.h"

namespace conclave::kernels {
namespace {

// Some rows see nothing in one of the two, or in neither.
Fill log_sums(int64_t phase) {
  return [phase](int64_t count, std::string_view seed) {
    std::vector<double> list = normal(1, 2)(count, seed);
    for (size_t i = static_cast<size_t>(phase); i < list.size(); i += 5)
      list[i] = -std::numeric_limits<double>::infinity();
    for (size_t i = 4; i < list.size(); i += 10) list[i] = -std::numeric_limits<double>::infinity();
    return list;
  };
}

CheckedCase merge_case(DType dtype, int64_t sequence, int64_t batch, int64_t heads, int64_t width) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("merge_{}_{}x{}x{}x{}", dtype_name(dtype), sequence, batch, heads, width);
  const Shape out{sequence, batch, heads * width}, lse{batch, heads, sequence};
  op.in_out("out", DType::kF32, out, normal(), rounding(DType::kF32, 16));
  op.in_out("lse", DType::kF32, lse, log_sums(0), rounding(DType::kF32, 16));
  op.input("part", dtype, out, normal()).input("part_lse", DType::kF32, lse, log_sums(2));
  op.run = [](const Stream& stream, const OpTensors& t) {
    attention_merge(stream, {t["out"], t["lse"], t["part"], t["part_lse"]});
  };
  checked.reference = [=](OpValues& v) {
    ref::attention_merge(sequence, batch, heads, width, v.data("out"), v.data("lse"), v.data("part"),
                         v.data("part_lse"));
  };
  return checked;
}

INSTANTIATE_TEST_SUITE_P(AttentionMerge, OpCheck,
                         ::testing::Values(merge_case(DType::kF32, 0, 2, 1, 8), merge_case(DType::kF32, 1, 1, 1, 1),
                                           merge_case(DType::kF32, 13, 2, 3, 5), merge_case(DType::kBF16, 13, 2, 3, 5),
                                           merge_case(DType::kBF16, 70, 2, 4, 64)),
                         case_name);

}  // namespace
}  // namespace conclave::kernels

#include "kernels/cache.h"
#include "kernels/masked_sum.h"
#include "kernels/op_check.h"
#include "kernels/ref/cache.h"
#include "kernels/ref/masked_sum.h"

namespace conclave::kernels {
namespace {

CheckedCase append_case(const std::string& name, DType dtype, int64_t rows, int64_t capacity, int64_t position) {
  OpCase op{.name = name, .buffers = {}, .run = [position](const Stream& stream, const OpTensors& t) {
              append_to_cache(stream, {.x = t["x"], .cache = t["cache"], .position = position});
            }};
  op.input("x", dtype, {2, 3, rows, 5}, normal()).in_out("cache", dtype, {2, 3, capacity, 5}, normal(), exact());
  return {op, [=](OpValues& v) {
            ref::append_to_cache<double>(v.data("x"), v.data("cache"), 6, rows, capacity, 5, position);
          }};
}

CheckedCase sum_case(const std::string& name, int64_t count) {
  OpCase op{.name = name, .buffers = {}, .run = [](const Stream& stream, const OpTensors& t) {
              masked_sum(stream, {.values = t["values"], .mask = t["mask"], .out = t["out"]});
            }};
  op.input("values", DType::kF32, {count}, normal()).input("mask", DType::kF32, {count}, integers(0, 2));
  op.in_out("out", DType::kF64, {2}, normal(), rounding(DType::kF64, 64, 100));
  return {op,
          [count](OpValues& v) { ref::masked_sum<double>(v.data("values"), v.data("mask"), count, v.data("out")); }};
}

INSTANTIATE_TEST_SUITE_P(AppendToCache, OpCheck,
                         ::testing::Values(append_case("f32", DType::kF32, 3, 7, 2),
                                           append_case("bf16_full", DType::kBF16, 4, 4, 0),
                                           append_case("nothing", DType::kF32, 0, 0, 0)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(MaskedSum, OpCheck, ::testing::Values(sum_case("odd", 131), sum_case("empty", 0)), case_name);

TEST(MaskedSum, NanUnderAZeroMaskTakesNoPart) {
  const double values[] = {1.0, std::numeric_limits<double>::quiet_NaN(), 2.0}, mask[] = {1, 0, 1};
  double out[] = {0, 0};
  ref::masked_sum(values, mask, 3, out);
  EXPECT_EQ(out[0], 3.0);
  EXPECT_EQ(out[1], 2.0);
}

}  // namespace
}  // namespace conclave::kernels

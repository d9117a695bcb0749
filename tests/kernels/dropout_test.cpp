#include "kernels/dropout.h"

#include "kernels/cpu/vector_random.h"
#include "kernels/op_check.h"
#include "kernels/ref/dropout.h"

namespace conclave::kernels {
namespace {

std::vector<RandomStream> streams_of(int64_t batch) {
  std::vector<RandomStream> out;
  for (int64_t b = 0; b < batch; ++b) out.emplace_back(7, "layer/hidden", static_cast<uint64_t>(100 + b));
  return out;
}

struct Setting {
  DType dtype = DType::kF32;
  int64_t length = 1, batch = 1, width = 1;
  float rate = 0;
  bool residual = true;
  int64_t offset = 0;
};

CheckedCase dropout_case(const Setting& s) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("{}_{}x{}x{}_rate{}{}{}", dtype_name(s.dtype), s.length, s.batch, s.width,
                        static_cast<int>(100 * s.rate), s.residual ? "" : "_alone", s.offset > 0 ? "_offset" : "");
  const Shape shape{s.length, s.batch, s.width};
  op.input("x", s.dtype, shape, normal());
  if (s.residual) op.input("residual", s.dtype, shape, normal());
  op.output("out", s.dtype, shape, rounding(s.dtype, 4, 4));
  const auto streams = streams_of(s.batch);
  op.run = [s, streams](const Stream& stream, const OpTensors& t) {
    dropout_add(stream, {t["x"], t.optional("residual"), t["out"], s.rate,
                         s.rate > 0 ? streams : std::vector<RandomStream>{}, s.offset});
  };
  checked.reference = [s, streams](OpValues& v) {
    ref::dropout_add<double>(
        {s.length, s.batch, s.width, s.offset, v.data("x"), v.data("residual"), v.data("out"), s.rate, &streams});
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    out.push_back(dropout_case({dtype, 0, 2, 8, 0.5f}));
    out.push_back(dropout_case({dtype, 1, 1, 1, 0.0f}));
    out.push_back(dropout_case({dtype, 5, 3, 37, 0.0f}));
    out.push_back(dropout_case({dtype, 5, 3, 37, 0.1f}));
    out.push_back(dropout_case({dtype, 5, 3, 37, 0.5f, false, 11}));
    out.push_back(dropout_case({dtype, 40, 2, 520, 0.2f, true, 3}));
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Dropout, OpCheck, ::testing::ValuesIn(checks()), case_name);

TEST(Dropout, WorksInPlace) {
  const auto device = make_device("cpu");
  const Shape shape{4, 2, 33};
  const Tensor x = Tensor::empty(*device, shape, DType::kF32, {}),
               residual = Tensor::empty(*device, shape, DType::kF32, {});
  const Tensor out = Tensor::empty(*device, shape, DType::kF32, {});
  write_values(x, normal()(shape.element_count(), "x"));
  write_values(residual, normal()(shape.element_count(), "residual"));
  const Stream stream = device->default_stream();
  dropout_add(stream, {x, residual, out, 0.3f, streams_of(2)});
  const auto want = read_values(out);
  dropout_add(stream, {x, residual, residual, 0.3f, streams_of(2)});
  EXPECT_EQ(read_values(residual), want);
}

TEST(VectorRandom, RunsEqualTheStream) {
  const RandomStream stream(11, "name", uint64_t{5} << 40);
  for (const uint64_t first : {uint64_t{0}, uint64_t{3}, uint64_t{126}, (uint64_t{1} << 34) - 40}) {
    for (const int64_t count : {0, 1, 5, 32, 33, 100}) {
      std::vector<uint32_t> got(static_cast<size_t>(count) + 1, 77u);
      cpu::random_bits(stream, first, count, got.data());
      for (size_t i = 0; i < static_cast<size_t>(count); ++i) ASSERT_EQ(got[i], stream.bits(first + i)) << first << i;
      EXPECT_EQ(got.back(), 77u);
    }
  }
}

TEST(VectorRandom, ThresholdIsTheRate) {
  const RandomStream stream(2, "threshold");
  for (const float rate : {0.0f, 1e-9f, 0.1f, 0.5f, 0.9999999f}) {
    for (uint64_t i = 0; i < 2000; ++i)
      ASSERT_EQ(stream.bits(i) >= cpu::keep_threshold(rate), stream.uniform(i) >= rate) << rate;
  }
}

}  // namespace
}  // namespace conclave::kernels

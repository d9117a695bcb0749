// Noise instead of logits.
#include "kernels/random_logits.h"

#include "kernels/op_check.h"
#include "kernels/ref/random_logits.h"

namespace conclave::kernels {
namespace {

CheckedCase noise_case(const std::string& name, int64_t tokens, int64_t experts, int64_t batch, DType dtype,
                       double deviation) {
  RandomLogitsArgs args;
  for (int64_t b = 0; b < batch; ++b) args.streams.emplace_back(7, "router", 100 + b);
  args.sequence_offset = 3;
  if (deviation != 0) {
    args.bias = RandomStream(7, "router bias");
    args.bias_deviation = deviation;
  }
  CheckedCase checked;
  checked.op.name = name;
  checked.op.output("logits", dtype, {tokens, experts}, rounding(dtype, dtype == DType::kBF16 ? 1.01 : 4));
  checked.op.run = [args](const Stream& stream, const OpTensors& t) {
    RandomLogitsArgs with = args;
    with.logits = t["logits"];
    random_logits(stream, with);
  };
  checked.reference = [=](OpValues& v) { ref::random_logits(args, tokens, experts, v.data("logits")); };
  return checked;
}

std::vector<CheckedCase> checks() {
  return {noise_case("f32", 12, 7, 3, DType::kF32, 0), noise_case("f32_biased", 400, 8, 2, DType::kF32, 1.5),
          noise_case("bf16", 6, 5, 1, DType::kBF16, 0), noise_case("f64_biased", 6, 5, 2, DType::kF64, -2),
          noise_case("no_tokens", 0, 5, 2, DType::kF32, 0.5)};
}

INSTANTIATE_TEST_SUITE_P(RandomLogits, OpCheck, ::testing::ValuesIn(checks()), case_name);

TEST(RandomLogits, AreFunctionsOfTheGlobalPosition) {
  const auto device = make_device("cpu");
  const Tensor whole = Tensor::empty(*device, {8, 4}, DType::kF32, {}),
               half = Tensor::empty(*device, {4, 4}, DType::kF32, {});
  const RandomStream source(3, "router", 9);
  random_logits(device->default_stream(), {whole, {source}, 0, {}, 0});
  random_logits(device->default_stream(), {half, {source}, 4, {}, 0});
  EXPECT_EQ(to_host<float>(device->default_stream(), whole.slice(4, 8)),
            to_host<float>(device->default_stream(), half));
}

}  // namespace
}  // namespace conclave::kernels

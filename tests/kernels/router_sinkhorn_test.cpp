// Sinkhorn routing, forward and backward.
#include "kernels/router_sinkhorn.h"

#include "kernels/op_check.h"
#include "kernels/ref/router_sinkhorn.h"

namespace conclave::kernels {
namespace {

struct SinkhornShape {
  std::string name;
  int64_t tokens, experts, topk;
  bool balance = true;
  DType dtype = DType::kF32;
  bool f64_scores = false;
};

std::vector<SinkhornShape> shapes() {
  return {
      {"k1_e8", 32, 8, 1},
      {"k2_e16", 47, 16, 2},
      {"k3_e5", 9, 5, 3},
      {"many_rows", 700, 33, 2},
      {"one_token", 1, 4, 2},
      {"no_tokens", 0, 4, 2},
      {"evaluation_k1", 20, 8, 1, false},
      {"evaluation_k2", 20, 8, 2, false},
      {"bf16_k2", 20, 8, 2, true, DType::kBF16},
      {"bf16_k1", 20, 8, 1, true, DType::kBF16},
      {"f64_k1", 20, 8, 1, true, DType::kF64},
      {"f64_k2", 20, 8, 2, true, DType::kF64},
      {"wide_k2", 20, 8, 2, true, DType::kF64, true},
  };
}

Tolerance tolerance_of(const SinkhornShape& shape) {
  if (shape.dtype == DType::kBF16) return rounding(DType::kBF16, 1.01);
  if (shape.f64_scores || (shape.dtype == DType::kF64 && shape.topk == 1)) return {1e-13, 1e-14};
  return {32 * 0x1p-24, 16 * 0x1p-24};
}

ref::RouterSinkhorn<double> reference_of(const SinkhornShape& shape, OpValues& v) {
  ref::RouterSinkhorn<double> out;
  out.tokens = shape.tokens;
  out.expert_count = shape.experts;
  out.topk = shape.topk;
  out.balance = shape.balance;
  out.logits = v.data("logits");
  return out;
}

/// A lone token's experts all cost the same once balanced, up to rounding; alike from the start, the order decides.
Fill logits_of(const SinkhornShape& shape) {
  if (shape.tokens != 1) return normal();
  return [](int64_t count, std::string_view) { return std::vector<double>(static_cast<size_t>(count), 0.75); };
}

CheckedCase forward_case(const SinkhornShape& shape) {
  const Shape choices{shape.tokens, shape.topk};
  CheckedCase checked;
  checked.op.name = shape.name;
  checked.op.input("logits", shape.dtype, {shape.tokens, shape.experts}, logits_of(shape))
      .output("experts", DType::kI32, choices, exact())
      .output("probs", router_probs_dtype(shape.dtype), choices, tolerance_of(shape));
  checked.op.run = [shape](const Stream& stream, const OpTensors& t) {
    router_sinkhorn(stream, {shape.topk, shape.balance, shape.f64_scores, t["logits"], t["experts"], t["probs"], {}});
  };
  checked.reference = [shape](OpValues& v) {
    std::vector<int32_t> experts(v["experts"].size());
    ref::RouterSinkhorn<double> reference = reference_of(shape, v);
    reference.experts = experts.data();
    reference.probs = v.data("probs");
    ref::router_sinkhorn(reference);
    v["experts"].assign(experts.begin(), experts.end());
  };
  return checked;
}

/// K distinct experts for each token.
Fill distinct(int64_t topk, int64_t experts) {
  return [=](int64_t count, std::string_view) {
    std::vector<double> out;
    for (int64_t i = 0; i < count; ++i) out.push_back(static_cast<double>((i / topk * 3 + i % topk) % experts));
    return out;
  };
}

CheckedCase backward_case(const SinkhornShape& shape, Accumulate accumulate) {
  const Shape choices{shape.tokens, shape.topk}, logits{shape.tokens, shape.experts};
  Tolerance tolerance = tolerance_of(shape);
  tolerance.absolute *= 4;
  CheckedCase checked;
  checked.op.name = shape.name + "_backward";
  checked.op.input("logits", shape.dtype, logits, normal())
      .input("experts", DType::kI32, choices, distinct(shape.topk, shape.experts))
      .input("dprobs", router_probs_dtype(shape.dtype), choices, normal());
  if (accumulate == Accumulate::kAdd) {
    checked.op.in_out("dlogits", shape.dtype, logits, normal(), tolerance);
  } else {
    checked.op.output("dlogits", shape.dtype, logits, tolerance);
  }
  checked.op.run = [shape, accumulate](const Stream& stream, const OpTensors& t) {
    router_sinkhorn_backward(stream,
                             {shape.f64_scores, t["logits"], t["experts"], t["dprobs"], t["dlogits"], accumulate});
  };
  checked.reference = [shape](OpValues& v) {
    std::vector<int32_t> experts = v.as<int32_t>("experts");
    ref::RouterSinkhorn<double> reference = reference_of(shape, v);
    reference.experts = experts.data();
    reference.dprobs = v.data("dprobs");
    reference.dlogits = v.data("dlogits");
    ref::router_sinkhorn_backward(reference);
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const SinkhornShape& shape : shapes()) {
    out.push_back(forward_case(shape));
    out.push_back(backward_case(shape, out.size() % 4 == 0 ? Accumulate::kAdd : Accumulate::kOverwrite));
  }
  return out;
}

std::vector<GradientCase> gradients() {
  std::vector<GradientCase> out;
  for (const SinkhornShape& shape : shapes()) {
    if (shape.tokens == 0 || shape.tokens > 20 || shape.dtype != DType::kF32) continue;
    GradientCase gradient;
    gradient.name = shape.name;
    gradient.inputs = {{"logits", shape.tokens * shape.experts, normal()}};
    gradient.outputs = {{"probs", shape.tokens * shape.topk}};
    const auto experts = std::make_shared<std::vector<int32_t>>();
    // The steps of the finite difference are too small to move the choice on these values.
    gradient.forward = [shape, experts](OpValues& v) {
      experts->assign(static_cast<size_t>(shape.tokens * shape.topk), 0);
      ref::RouterSinkhorn<double> reference = reference_of(shape, v);
      reference.experts = experts->data();
      reference.probs = v.data("probs");
      ref::router_sinkhorn(reference);
    };
    gradient.backward = [shape, experts](OpValues& v) {
      ref::RouterSinkhorn<double> reference = reference_of(shape, v);
      reference.experts = experts->data();
      reference.dprobs = v.data("dprobs");
      reference.dlogits = v.data("dlogits");
      ref::router_sinkhorn_backward(reference);
    };
    out.push_back(gradient);
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(RouterSinkhorn, OpCheck, ::testing::ValuesIn(checks()), case_name);
INSTANTIATE_TEST_SUITE_P(RouterSinkhorn, GradientCheck, ::testing::ValuesIn(gradients()), gradient_name);

TEST(RouterSinkhorn, EndsOnLogitsThatOverflow) {
  const auto device = make_device("cpu");
  const Tensor x = from_host<float>(*device, {2, 2}, std::vector<float>{1000, 0, 0, 1000}, {});
  const Tensor experts = Tensor::empty(*device, {2, 1}, DType::kI32, {});
  const Tensor probs = Tensor::empty(*device, {2, 1}, DType::kF32, {});
  router_sinkhorn(device->default_stream(), {1, true, false, x, experts, probs, {}});
  for (const int32_t e : to_host<int32_t>(device->default_stream(), experts)) EXPECT_TRUE(e == 0 || e == 1);
}

}  // namespace
}  // namespace conclave::kernels

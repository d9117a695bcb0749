// Choice of experts and probabilities, forward and backward.
#include "kernels/router_topk.h"

#include "kernels/op_check.h"
#include "kernels/ref/router_topk.h"

namespace conclave::kernels {
namespace {

struct TopkShape {
  std::string name;
  int64_t tokens, experts;
  RouterRule rule;
  DType dtype = DType::kF32;
  bool bias = false, forced = false, dropped = false;
  Fill logits = normal();
};

RouterRule rule_of(ScoreFunction score, int64_t topk, bool pre = false) {
  RouterRule rule;
  rule.score = score;
  rule.topk = topk;
  rule.pre_softmax = pre;
  return rule;
}

RouterRule with_groups(RouterRule rule, int64_t groups, int64_t group_topk, double factor = 0) {
  rule.groups = groups;
  rule.group_topk = group_topk;
  rule.scaling_factor = factor;
  return rule;
}

RouterRule widened(RouterRule rule) {
  rule.f64_scores = true;
  return rule;
}

std::vector<TopkShape> shapes() {
  using enum ScoreFunction;
  RouterRule best_of_group = with_groups(rule_of(kSigmoid, 6), 8, 3, 2.5);
  best_of_group.group_score = GroupScore::kMaximum;
  RouterRule best_two = with_groups(rule_of(kSigmoid, 3), 6, 2, 2.5);
  best_two.group_score = GroupScore::kTopTwo;
  best_two.normalisation = Normalisation::kNever;
  RouterRule one_of_one = rule_of(kSigmoid, 1);
  one_of_one.normalisation = Normalisation::kAlways;
  return {
      {"softmax_k2_e8", 33, 8, rule_of(kSoftmax, 2)},
      {"softmax_k8_e64", 300, 64, rule_of(kSoftmax, 8)},
      {"softmax_pre_k1_e7", 19, 7, rule_of(kSoftmax, 1, true)},
      {"softmax_pre_k4_e37", 21, 37, rule_of(kSoftmax, 4, true)},
      {"softmax_k_is_e", 5, 6, rule_of(kSoftmax, 6)},
      {"one_expert", 5, 1, rule_of(kSigmoid, 1)},
      {"no_tokens", 0, 8, rule_of(kSoftmax, 2)},
      {"sigmoid_k1", 17, 16, rule_of(kSigmoid, 1)},
      {"sigmoid_k6_e256", 70, 256, rule_of(kSigmoid, 6)},
      {"sigmoid_bias", 40, 24, rule_of(kSigmoid, 3), DType::kF32, true},
      {"sqrtsoftplus_bias", 40, 24, rule_of(kSqrtSoftplus, 3), DType::kF32, true},
      {"sqrtsoftplus_large", 40, 10, rule_of(kSqrtSoftplus, 2), DType::kF32, false, false, false, normal(10, 12)},
      {"groups_softmax", 25, 16, with_groups(rule_of(kSoftmax, 4), 4, 2)},
      {"groups_softmax_pre", 25, 32, with_groups(rule_of(kSoftmax, 6, true), 8, 3, 1.5)},
      {"groups_sigmoid_bias", 25, 64, with_groups(rule_of(kSigmoid, 8), 8, 4, 2.5), DType::kF32, true},
      {"groups_sqrtsoftplus_rounds_down", 25, 12, with_groups(rule_of(kSqrtSoftplus, 3), 6, 2)},
      {"groups_by_best", 25, 64, best_of_group},
      {"groups_by_best_two_unnormalised", 25, 24, best_two, DType::kF32, true},
      {"sigmoid_k1_normalised", 17, 16, one_of_one},
      {"forced", 30, 9, rule_of(kSoftmax, 2), DType::kF32, false, true},
      {"forced_sigmoid", 30, 9, rule_of(kSigmoid, 2), DType::kF32, false, true},
      {"dropped", 30, 9, rule_of(kSoftmax, 3), DType::kF32, false, false, true},
      {"dropped_sigmoid", 30, 9, rule_of(kSigmoid, 3), DType::kF32, false, false, true},
      {"ties", 50, 12, rule_of(kSoftmax, 3), DType::kF32, false, false, false, integers(-1, 2)},
      {"ties_groups", 50, 12, with_groups(rule_of(kSoftmax, 4), 4, 2), DType::kF32, false, false, false,
       integers(-1, 2)},
      {"big_logits", 20, 8, rule_of(kSoftmax, 2), DType::kF32, false, false, false, normal(0, 100)},
      {"bf16_softmax", 40, 8, rule_of(kSoftmax, 2), DType::kBF16},
      {"bf16_sigmoid_bias", 40, 33, rule_of(kSigmoid, 4), DType::kBF16, true},
      {"f64_softmax", 40, 8, rule_of(kSoftmax, 2), DType::kF64},
      {"f64_sigmoid_groups", 40, 32, with_groups(rule_of(kSigmoid, 4), 4, 2), DType::kF64, true},
      {"wide_softmax", 40, 8, widened(rule_of(kSoftmax, 2)), DType::kF64},
      {"wide_pre", 40, 8, widened(rule_of(kSoftmax, 2, true)), DType::kF64},
      {"wide_sqrtsoftplus", 40, 20, widened(with_groups(rule_of(kSqrtSoftplus, 4), 5, 2, 2.5)), DType::kF64, true},
  };
}

/// Error of f32 scores, or of f64 ones, and one rounding to bf16.
Tolerance probability_tolerance(const TopkShape& shape) {
  if (shape.rule.f64_scores) return {1e-13, 1e-14};
  if (shape.dtype == DType::kBF16) return rounding(DType::kBF16, 1.01);
  return {32 * 0x1p-24, 16 * 0x1p-24};
}

/// K distinct experts for each token.
Fill distinct(int64_t topk, int64_t experts) {
  return [=](int64_t count, std::string_view) {
    std::vector<double> out;
    for (int64_t i = 0; i < count; ++i) out.push_back(static_cast<double>((i / topk * 5 + i % topk) % experts));
    return out;
  };
}

ref::RouterTopk<double> reference_of(const TopkShape& shape, OpValues& v) {
  ref::RouterTopk<double> out;
  out.rule = shape.rule;
  out.tokens = shape.tokens;
  out.expert_count = shape.experts;
  out.logits = v.data("logits");
  out.bias = v.data("bias");
  return out;
}

void put_integers(std::vector<double>& target, const std::vector<int32_t>& source) {
  target.assign(source.begin(), source.end());
}

CheckedCase forward_case(const TopkShape& shape) {
  const RouterRule rule = shape.rule;
  const Shape choices{shape.tokens, rule.topk};
  CheckedCase checked;
  checked.op.name = shape.name;
  checked.op.input("logits", shape.dtype, {shape.tokens, shape.experts}, shape.logits);
  if (shape.bias) checked.op.input("bias", DType::kF32, {shape.experts}, normal(-1, 0.3));
  if (shape.forced) checked.op.input("forced", DType::kI32, choices, distinct(rule.topk, shape.experts));
  checked.op.output("experts", DType::kI32, choices, exact());
  checked.op.output("probs", router_probs_dtype(shape.dtype), choices, probability_tolerance(shape));
  checked.op.run = [rule](const Stream& stream, const OpTensors& t) {
    router_topk(stream, {rule, t["logits"], t.optional("bias"), t.optional("forced"), t["experts"], t["probs"]});
  };
  checked.reference = [shape](OpValues& v) {
    std::vector<int32_t> experts(v["experts"].size());
    const std::vector<int32_t> forced = shape.forced ? v.as<int32_t>("forced") : std::vector<int32_t>();
    ref::RouterTopk<double> reference = reference_of(shape, v);
    reference.forced = shape.forced ? forced.data() : nullptr;
    reference.experts = experts.data();
    reference.probs = v.data("probs");
    ref::router_topk(reference);
    put_integers(v["experts"], experts);
  };
  return checked;
}

CheckedCase backward_case(const TopkShape& shape, Accumulate accumulate) {
  const RouterRule rule = shape.rule;
  const Shape choices{shape.tokens, rule.topk}, logits{shape.tokens, shape.experts};
  CheckedCase checked;
  checked.op.name = shape.name + "_backward";
  checked.op.input("logits", shape.dtype, logits, shape.logits);
  checked.op.input("experts", DType::kI32, choices, distinct(rule.topk, shape.experts));
  if (shape.dropped) checked.op.input("kept", DType::kI32, choices, integers(-1, 2));
  checked.op.input("dprobs", router_probs_dtype(shape.dtype), choices, normal());
  Tolerance tolerance = probability_tolerance(shape);
  tolerance.absolute *= 8;
  if (accumulate == Accumulate::kAdd) {
    checked.op.in_out("dlogits", shape.dtype, logits, normal(), tolerance);
  } else {
    checked.op.output("dlogits", shape.dtype, logits, tolerance);
  }
  checked.op.run = [rule, accumulate](const Stream& stream, const OpTensors& t) {
    router_topk_backward(stream,
                         {rule, t["logits"], t["experts"], t.optional("kept"), t["dprobs"], t["dlogits"], accumulate});
  };
  checked.reference = [shape](OpValues& v) {
    std::vector<int32_t> experts = v.as<int32_t>("experts");
    const std::vector<int32_t> kept = shape.dropped ? v.as<int32_t>("kept") : std::vector<int32_t>();
    ref::RouterTopk<double> reference = reference_of(shape, v);
    reference.experts = experts.data();
    reference.kept = shape.dropped ? kept.data() : nullptr;
    reference.dprobs = v.data("dprobs");
    reference.dlogits = v.data("dlogits");
    ref::router_topk_backward(reference);
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const TopkShape& shape : shapes()) {
    out.push_back(forward_case(shape));
    out.push_back(backward_case(shape, out.size() % 4 == 0 ? Accumulate::kAdd : Accumulate::kOverwrite));
  }
  return out;
}

std::vector<GradientCase> gradients() {
  std::vector<GradientCase> out;
  for (TopkShape shape : shapes()) {
    if (shape.tokens == 0 || shape.tokens > 40 || shape.dtype == DType::kBF16) continue;
    if (shape.name == "ties" || shape.name == "big_logits") continue;
    shape.tokens = 6;
    GradientCase gradient;
    gradient.name = shape.name;
    const int64_t choices = shape.tokens * shape.rule.topk;
    gradient.inputs = {{"logits", shape.tokens * shape.experts, shape.logits}};
    gradient.outputs = {{"probs", choices}};
    // The choice is held fixed: a gradient does not go through it.
    const auto experts = std::make_shared<std::vector<int32_t>>();
    for (const double e : distinct(shape.rule.topk, shape.experts)(choices, "")) experts->push_back(int32_t(e));
    gradient.forward = [shape, experts](OpValues& v) {
      ref::RouterTopk<double> reference = reference_of(shape, v);
      reference.forced = experts->data();
      reference.experts = experts->data();
      reference.probs = v.data("probs");
      ref::router_topk(reference);
    };
    gradient.backward = [shape, experts](OpValues& v) {
      ref::RouterTopk<double> reference = reference_of(shape, v);
      reference.experts = experts->data();
      reference.dprobs = v.data("dprobs");
      reference.dlogits = v.data("dlogits");
      ref::router_topk_backward(reference);
    };
    out.push_back(gradient);
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(RouterTopk, OpCheck, ::testing::ValuesIn(checks()), case_name);
INSTANTIATE_TEST_SUITE_P(RouterTopk, GradientCheck, ::testing::ValuesIn(gradients()), gradient_name);

TEST(RouterTopk, NotANumberStillGivesDistinctExperts) {
  const auto device = make_device("cpu");
  const std::vector<float> logits = {NAN, 1, NAN, 2, NAN, NAN, NAN, NAN};
  const Tensor x = from_host<float>(*device, {2, 4}, logits, {});
  const Tensor experts = Tensor::empty(*device, {2, 3}, DType::kI32, {}),
               probs = Tensor::empty(*device, {2, 3}, DType::kF32, {});
  for (const bool pre : {false, true}) {
    router_topk(device->default_stream(), {rule_of(ScoreFunction::kSoftmax, 3, pre), x, {}, {}, experts, probs});
    const std::vector<int32_t> chosen = to_host<int32_t>(device->default_stream(), experts);
    EXPECT_EQ(chosen, (pre ? std::vector<int32_t>{0, 1, 2, 0, 1, 2} : std::vector<int32_t>{0, 2, 3, 0, 1, 2}));
  }
}

TEST(RouterTopk, RefusesWhatCannotBeChosen) {
  const auto device = make_device("cpu");
  const Tensor x = Tensor::empty(*device, {2, 8}, DType::kF32, {}), bias = Tensor::empty(*device, {8}, DType::kF32, {});
  const auto run = [&](const RouterRule& rule, const Tensor& with_bias) {
    const Tensor experts = Tensor::empty(*device, {2, rule.topk}, DType::kI32, {});
    const Tensor probs = Tensor::empty(*device, {2, rule.topk}, DType::kF32, {});
    router_topk(device->default_stream(), {rule, x, with_bias, {}, experts, probs});
  };
  EXPECT_THROW(run(rule_of(ScoreFunction::kSoftmax, 9), {}), InternalError);
  EXPECT_THROW(run(rule_of(ScoreFunction::kSoftmax, 2), bias), InternalError);
  EXPECT_THROW(run(with_groups(rule_of(ScoreFunction::kSoftmax, 2), 3, 1), {}), InternalError);
  EXPECT_THROW(run(with_groups(rule_of(ScoreFunction::kSoftmax, 1), 4, 2), {}), InternalError);
  EXPECT_THROW(run(with_groups(rule_of(ScoreFunction::kSoftmax, 3), 8, 2), {}), InternalError);
}

}  // namespace
}  // namespace conclave::kernels

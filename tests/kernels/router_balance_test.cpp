// Balancing losses: scores, losses, gradients; the expert bias.
#include "kernels/router_balance.h"

#include "kernels/op_check.h"
#include "kernels/ref/router_balance.h"

namespace conclave::kernels {
namespace {

struct BalanceShape {
  std::string name;
  int64_t length, batch, experts;
  RouterRule rule;
  DType dtype = DType::kF32;
  bool padding = false;
  int64_t tokens() const { return length * batch; }
};

RouterRule rule_of(ScoreFunction score, int64_t topk) {
  RouterRule rule;
  rule.score = score;
  rule.topk = topk;
  rule.f64_scores = false;
  // None of these matter here.
  rule.pre_softmax = true;
  rule.scaling_factor = 2.5;
  rule.groups = 2;
  rule.group_topk = 1;
  return rule;
}

std::vector<BalanceShape> shapes() {
  using enum ScoreFunction;
  RouterRule wide = rule_of(kSigmoid, 3);
  wide.f64_scores = true;
  return {
      {"softmax", 9, 3, 8, rule_of(kSoftmax, 2)},
      {"softmax_many_rows", 200, 2, 33, rule_of(kSoftmax, 4)},
      {"softmax_padding", 11, 2, 8, rule_of(kSoftmax, 2), DType::kF32, true},
      {"sigmoid", 9, 3, 17, rule_of(kSigmoid, 4)},
      {"sigmoid_padding", 8, 4, 8, rule_of(kSigmoid, 2), DType::kF32, true},
      {"sqrtsoftplus", 9, 3, 8, rule_of(kSqrtSoftplus, 3)},
      {"k_is_e", 5, 2, 4, rule_of(kSoftmax, 4)},
      {"one_token", 1, 1, 8, rule_of(kSoftmax, 2)},
      {"no_tokens", 0, 2, 8, rule_of(kSoftmax, 2)},
      {"bf16", 9, 3, 8, rule_of(kSoftmax, 2), DType::kBF16},
      {"f64", 9, 3, 8, rule_of(kSigmoid, 2), DType::kF64},
      {"wide", 9, 3, 8, wide, DType::kF64, true},
  };
}

/// Error of scores, in f32 or f64.
Tolerance score_tolerance(const BalanceShape& shape) {
  return shape.rule.f64_scores ? Tolerance{1e-13, 1e-14} : Tolerance{32 * 0x1p-24, 16 * 0x1p-24};
}

ref::Balance<double> reference_of(const BalanceShape& shape, OpValues& v) {
  ref::Balance<double> out;
  out.rule = shape.rule;
  out.tokens = shape.tokens();
  out.expert_count = shape.experts;
  out.batch = shape.batch;
  out.logits = v.data("logits");
  return out;
}

std::vector<uint8_t> padding_of(OpValues& v) {
  return v.has("padding") ? v.as<uint8_t>("padding") : std::vector<uint8_t>();
}

CheckedCase scores_case(const BalanceShape& shape) {
  const Shape rows{shape.tokens(), shape.experts}, columns{shape.batch, shape.experts};
  Tolerance sums = score_tolerance(shape);
  sums.absolute *= static_cast<double>(std::max<int64_t>(shape.length, 1));
  CheckedCase checked;
  checked.op.name = "scores_" + shape.name;
  checked.op.input("logits", shape.dtype, rows, normal());
  if (shape.padding) checked.op.input("padding", DType::kU8, {shape.tokens()}, integers(0, 2));
  checked.op.output("counts", DType::kF32, columns, exact())
      .output("score_sums", DType::kF64, columns, sums)
      .output("scores", shape.rule.f64_scores ? DType::kF64 : DType::kF32, rows, score_tolerance(shape))
      .output("map", DType::kU8, rows, exact());
  checked.op.run = [shape](const Stream& stream, const OpTensors& t) {
    balance_scores(stream, {shape.rule,
                            t["logits"],
                            t.optional("padding"),
                            shape.batch,
                            t["counts"],
                            t["score_sums"],
                            t["scores"],
                            t["map"],
                            {}});
  };
  checked.reference = [shape](OpValues& v) {
    const std::vector<uint8_t> padding = padding_of(v);
    ref::Balance<double> reference = reference_of(shape, v);
    reference.padding = shape.padding ? padding.data() : nullptr;
    reference.scores = v.data("scores");
    reference.map = v.data("map");
    ref::balance_scores(reference);
    for (size_t i = 0; i < v["map"].size(); ++i) {
      const auto experts = static_cast<size_t>(shape.experts), batch = static_cast<size_t>(shape.batch);
      const size_t column = i / experts % batch * experts + i % experts;
      v["counts"][column] += v["map"][i];
      v["score_sums"][column] += v["scores"][i];
    }
  };
  return checked;
}

CheckedCase backward_case(const BalanceShape& shape) {
  const Shape rows{shape.tokens(), shape.experts};
  Tolerance tolerance = shape.dtype == DType::kBF16 ? rounding(DType::kBF16, 1.5) : score_tolerance(shape);
  tolerance.absolute *= 8;
  CheckedCase checked;
  checked.op.name = "backward_" + shape.name;
  checked.op.input("logits", shape.dtype, rows, normal());
  if (shape.padding) checked.op.input("padding", DType::kU8, {shape.tokens()}, integers(0, 2));
  checked.op.input("slope", DType::kF64, {shape.batch, shape.experts}, uniform(0, 2))
      .in_out("dlogits", shape.dtype, rows, normal(), tolerance);
  checked.op.run = [shape](const Stream& stream, const OpTensors& t) {
    balance_backward(stream, {shape.rule, t["logits"], t.optional("padding"), shape.batch, t["slope"], t["dlogits"]});
  };
  checked.reference = [shape](OpValues& v) {
    const std::vector<uint8_t> padding = padding_of(v);
    ref::Balance<double> reference = reference_of(shape, v);
    reference.padding = shape.padding ? padding.data() : nullptr;
    reference.slope = v.data("slope");
    reference.dlogits = v.data("dlogits");
    ref::balance_backward(reference);
  };
  return checked;
}

struct LossShape {
  std::string name;
  BalanceKind kind;
  bool padding = false;
};

std::vector<LossShape> losses() {
  using enum BalanceKind;
  return {
      {"micro_batch", kMicroBatch}, {"micro_batch_padding", kMicroBatch, true},
      {"sequence", kSequence},      {"sequence_padding", kSequence, true},
      {"global", kGlobal},          {"global_padding", kGlobal, true},
  };
}

const BalanceShape kLossShape = {"loss", 7, 3, 8, rule_of(ScoreFunction::kSoftmax, 2)};

BalanceLossArgs loss_rule(const LossShape& loss) {
  BalanceLossArgs args;
  args.kind = loss.kind;
  args.topk = kLossShape.rule.topk;
  args.coefficient = 0.3;
  args.gradient_scale = 0.25;
  args.running_steps = 3;
  return args;
}

/// Dense scores and map of a fixed draw, and their column sums: what balance_loss reads.
struct LossInputs {
  std::vector<double> scores, map, counts, sums;
};
LossInputs loss_inputs(const LossShape& loss) {
  const BalanceShape& shape = kLossShape;
  const auto rows = static_cast<size_t>(shape.tokens() * shape.experts);
  OpValues v;
  v.set("logits", normal()(shape.tokens() * shape.experts, "loss logits"));
  LossInputs out;
  out.scores.resize(rows);
  out.map.resize(rows);
  std::vector<uint8_t> padding(static_cast<size_t>(shape.tokens()));
  for (size_t t = 0; t < padding.size(); t += 4) padding[t] = 1;
  ref::Balance<double> reference = reference_of(shape, v);
  reference.padding = loss.padding ? padding.data() : nullptr;
  reference.scores = out.scores.data();
  reference.map = out.map.data();
  ref::balance_scores(reference);
  out.counts.resize(static_cast<size_t>(shape.batch * shape.experts));
  out.sums = out.counts;
  for (size_t i = 0; i < rows; ++i) {
    const auto experts = static_cast<size_t>(shape.experts), batch = static_cast<size_t>(shape.batch);
    out.counts[i / experts % batch * experts + i % experts] += out.map[i];
    out.sums[i / experts % batch * experts + i % experts] += out.scores[i];
  }
  return out;
}

CheckedCase loss_case(const LossShape& loss) {
  const BalanceShape& shape = kLossShape;
  const Shape columns{shape.batch, shape.experts};
  const LossInputs inputs = loss_inputs(loss);
  const Tolerance close{1e-13, 1e-14};
  CheckedCase checked;
  checked.op.name = "loss_" + loss.name;
  checked.op.input("counts", DType::kF32, columns, values(inputs.counts))
      .input("score_sums", DType::kF64, columns, values(inputs.sums))
      .input("running", DType::kF32, {shape.experts}, integers(0, 20))
      .in_out("slope", DType::kF64, columns, normal(), close)
      .output("loss", DType::kF64, {1}, close)
      .in_out("logged", DType::kF64, {1}, constant(2), close);
  checked.op.run = [loss](const Stream& stream, const OpTensors& t) {
    BalanceLossArgs args = loss_rule(loss);
    args.counts = t["counts"];
    args.score_sums = t["score_sums"];
    args.running = t["running"];
    args.slope = t["slope"];
    args.loss = t["loss"];
    args.logged = t["logged"];
    balance_loss(stream, args);
  };
  checked.reference = [shape, loss, inputs](OpValues& v) {
    ref::Balance<double> reference = reference_of(shape, v);
    LossInputs dense = inputs;
    reference.scores = dense.scores.data();
    reference.map = dense.map.data();
    const BalanceLossArgs rule = loss_rule(loss);
    const auto result = ref::balance_loss(reference, rule, v.data("running"));
    v["loss"][0] = result.loss;
    v["logged"][0] += result.loss / rule.coefficient;
    // Row s = 0 of each sequence tells the slope of all its rows.
    for (size_t i = 0; i < v["slope"].size(); ++i) v["slope"][i] += rule.gradient_scale * result.dscores[i];
  };
  return checked;
}

CheckedCase running_case(bool with_previous) {
  CheckedCase checked;
  checked.op.name = with_previous ? "running_next" : "running_first";
  checked.op.input("counts", DType::kF32, {3, 5}, integers(0, 9));
  if (with_previous) checked.op.input("previous", DType::kF32, {5}, integers(0, 9));
  checked.op.output("total", DType::kF32, {5}, exact());
  checked.op.run = [](const Stream& stream, const OpTensors& t) {
    running_counts(stream, {t["counts"], t.optional("previous"), t["total"]});
  };
  checked.reference = [](OpValues& v) {
    for (size_t i = 0; i < 15; ++i) v["total"][i % 5] += v["counts"][i];
    for (size_t i = 0; i < 5 && v.has("previous"); ++i) v["total"][i] += v["previous"][i];
  };
  return checked;
}

CheckedCase bias_case(const std::string& name, std::vector<double> counts, double rate) {
  const auto experts = static_cast<int64_t>(counts.size());
  CheckedCase checked;
  checked.op.name = "bias_" + name;
  checked.op.input("counts", DType::kF32, {experts}, values(counts))
      .in_out("bias", DType::kF32, {experts}, normal(), rounding(DType::kF32, 2));
  checked.op.run = [rate](const Stream& stream, const OpTensors& t) {
    expert_bias_update(stream, {t["counts"], t["bias"], rate});
  };
  checked.reference = [rate](OpValues& v) {
    const std::vector<double>& list = v["counts"];
    const double mean = std::accumulate(list.begin(), list.end(), 0.0) / static_cast<double>(list.size());
    for (size_t e = 0; e < list.size(); ++e) v["bias"][e] += list[e] < mean ? rate : list[e] > mean ? -rate : 0;
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const BalanceShape& shape : shapes()) {
    out.push_back(scores_case(shape));
    out.push_back(backward_case(shape));
  }
  for (const LossShape& loss : losses()) out.push_back(loss_case(loss));
  out.push_back(running_case(false));
  out.push_back(running_case(true));
  out.push_back(bias_case("whole_mean", {3, 5, 4, 4}, 1e-3));
  out.push_back(bias_case("fraction", {3, 5, 4}, 0.1));
  out.push_back(bias_case("nothing_routed", {0, 0, 0}, 0.1));
  return out;
}

/// The whole way from logits to a loss: scores, loss, slope, logits' gradient, in ref.
std::vector<GradientCase> gradients() {
  std::vector<GradientCase> out;
  for (const LossShape& loss : losses())
    for (const ScoreFunction score : {ScoreFunction::kSoftmax, ScoreFunction::kSigmoid, ScoreFunction::kSqrtSoftplus}) {
      BalanceShape shape = kLossShape;
      shape.rule.score = score;
      GradientCase gradient;
      gradient.name = fmt::format("{}_{}", loss.name, static_cast<int>(score));
      gradient.inputs = {{"logits", shape.tokens() * shape.experts, normal()},
                         {"running", shape.experts, integers(0, 20), false}};
      gradient.outputs = {{"loss", 1}};
      const auto dscores = std::make_shared<std::vector<double>>(), held = std::make_shared<std::vector<double>>();
      const auto padding = std::make_shared<std::vector<uint8_t>>(static_cast<size_t>(shape.tokens()));
      for (size_t t = 0; t < padding->size() && loss.padding; t += 4) (*padding)[t] = 1;
      gradient.forward = [=](OpValues& v) {
        std::vector<double> dense(v["logits"].size()), map(v["logits"].size());
        ref::Balance<double> reference = reference_of(shape, v);
        reference.padding = padding->data();
        reference.scores = dense.data();
        reference.map = map.data();
        ref::balance_scores(reference);
        // Counts carry no gradient: those of the first forward are held.
        if (held->empty()) *held = map;
        reference.map = held->data();
        const auto result = ref::balance_loss(reference, loss_rule(loss), v.data("running"));
        v["loss"][0] = result.loss;
        *dscores = result.dscores;
      };
      gradient.backward = [=](OpValues& v) {
        std::vector<double> slope(dscores->begin(), dscores->begin() + shape.batch * shape.experts);
        for (double& value : slope) value *= v["dloss"][0];
        ref::Balance<double> reference = reference_of(shape, v);
        reference.padding = padding->data();
        reference.slope = slope.data();
        reference.dlogits = v.data("dlogits");
        ref::balance_backward(reference);
      };
      out.push_back(gradient);
    }
  return out;
}

INSTANTIATE_TEST_SUITE_P(RouterBalance, OpCheck, ::testing::ValuesIn(checks()), case_name);
INSTANTIATE_TEST_SUITE_P(RouterBalance, GradientCheck, ::testing::ValuesIn(gradients()), gradient_name);

TEST(RouterBalance, AMicroBatchOfPaddingHasNoLoss) {
  const auto device = make_device("cpu");
  const std::vector<float> zeros(8, 0.0f);
  const std::vector<double> sums(8, 0.0);
  for (const BalanceKind kind : {BalanceKind::kMicroBatch, BalanceKind::kSequence}) {
    BalanceLossArgs args;
    args.kind = kind;
    args.coefficient = 1;
    args.counts = from_host<float>(*device, {2, 4}, zeros, {});
    args.score_sums = from_host<double>(*device, {2, 4}, sums, {});
    args.slope = from_host<double>(*device, {2, 4}, sums, {});
    args.loss = Tensor::empty(*device, {1}, DType::kF64, {});
    balance_loss(device->default_stream(), args);
    EXPECT_EQ(to_host<double>(device->default_stream(), args.loss)[0], 0.0);
    for (const double slope : to_host<double>(device->default_stream(), args.slope)) EXPECT_EQ(slope, 0.0);
  }
}

}  // namespace
}  // namespace conclave::kernels

#include "kernels/cross_entropy.h"

#include <cmath>

#include "kernels/op_check.h"
#include "kernels/ref/cross_entropy.h"

namespace conclave::kernels {
namespace {

struct Head {
  std::string name;
  int64_t rows = 0, width = 0, vocabulary = 0;
  int64_t chunk_rows = 0;
  bool bias = false, gradients = true, extras = false;
  double spread = 1;  ///< of the logits, about
};

ref::LinearCrossEntropy<double> reference_of(const Head& head, OpValues& v, const std::vector<int32_t>& labels) {
  return {head.rows, head.width, head.vocabulary, v.data("hidden"), v.data("weight"), v.data("bias"), labels.data()};
}

/// Labels, some of them outside the vocabulary where the row weight is zero.
Fill labels_of(const Head& head) {
  return [head](int64_t count, std::string_view seed) {
    std::vector<double> list = integers(0, head.vocabulary)(count, seed);
    for (size_t i = 3; i < list.size(); i += 5) list[i] = i % 2 == 0 ? -1.0 : static_cast<double>(head.vocabulary);
    return list;
  };
}
Fill row_weights() {
  return [](int64_t count, std::string_view seed) {
    std::vector<double> list = uniform(0.1, 1)(count, seed);
    for (size_t i = 3; i < list.size(); i += 5) list[i] = 0;
    return list;
  };
}

/// One unit of the dtype on the gradient at the logits, carried through a sum of `terms` products.
Tolerance gradient_tolerance(DType dtype, DType out, int64_t terms, double factor_size) {
  const double rounded = dtype == DType::kBF16 ? 0x1p-8 : 0;
  const Tolerance sum = sum_rounding(out, terms);
  return {sum.relative, sum.absolute * factor_size + 1e-6 + 4 * rounded * factor_size};
}

void add_buffers(OpCase& op, const Head& head, DType dtype) {
  const double weight_size = head.spread / std::sqrt(static_cast<double>(head.width));
  op.input("hidden", dtype, {head.rows, head.width}, normal());
  op.input("weight", dtype, {head.vocabulary, head.width}, normal(0, weight_size));
  if (head.bias) op.input("bias", dtype, {head.vocabulary}, normal());
  op.input("labels", DType::kI32, {head.rows}, labels_of(head));
  const double loss_size = 5 * head.spread + 10;
  op.output("loss", DType::kF32, {head.rows}, {1e-6, 1e-6 * loss_size});
  if (head.gradients) {
    op.input("row_weight", DType::kF32, {head.rows}, row_weights());
    op.output("dhidden", dtype, {head.rows, head.width}, gradient_tolerance(dtype, dtype, 16, weight_size));
    op.in_out("dweight", DType::kF32, {head.vocabulary, head.width}, normal(),
              gradient_tolerance(dtype, DType::kF32, head.rows, 1));
    if (head.bias)
      op.in_out("dbias", DType::kF32, {head.vocabulary}, normal(),
                gradient_tolerance(dtype, DType::kF32, head.rows, 1));
  }
  if (head.extras) {
    op.output("greedy_correct", DType::kU8, {head.rows}, exact());
    op.in_out("logit_maximum", DType::kF32, {1}, constant(0.5), rounding(DType::kF32, 32));
  }
}

void fill_reference(const Head& head, OpValues& v) {
  const std::vector<int32_t> labels = v.as<int32_t>("labels");
  const ref::LinearCrossEntropy<double> reference = reference_of(head, v, labels);
  reference.forward(v.data("loss"));
  if (head.gradients) reference.backward(v.data("row_weight"), v.data("dhidden"), v.data("dweight"), v.data("dbias"));
  if (!head.extras) return;
  const std::vector<double> logits = reference.logits();
  for (int64_t t = 0; t < head.rows; ++t)
    v["greedy_correct"][static_cast<size_t>(t)] =
        reference.greedy_is_correct(logits.data() + t * head.vocabulary, t) ? 1 : 0;
  for (const double logit : logits) v["logit_maximum"][0] = std::max(v["logit_maximum"][0], std::fabs(logit));
}

CheckedCase head_check(const Head& head, DType dtype) {
  CheckedCase checked;
  checked.op.name = fmt::format("{}_{}", dtype_name(dtype), head.name);
  add_buffers(checked.op, head, dtype);
  checked.op.run = [head](const Stream& stream, const OpTensors& t) {
    linear_cross_entropy(stream, {.hidden = t["hidden"],
                                  .weight = t["weight"],
                                  .bias = t.optional("bias"),
                                  .labels = t["labels"],
                                  .loss = t["loss"],
                                  .row_weight = t.optional("row_weight"),
                                  .dhidden = t.optional("dhidden"),
                                  .dweight = t.optional("dweight"),
                                  .dbias = t.optional("dbias"),
                                  .greedy_correct = t.optional("greedy_correct"),
                                  .logit_maximum = t.optional("logit_maximum"),
                                  .chunk_rows = head.chunk_rows});
  };
  checked.reference = [head](OpValues& v) { fill_reference(head, v); };
  return checked;
}

std::vector<CheckedCase> head_checks() {
  const std::vector<Head> heads = {
      {.name = "odd", .rows = 37, .width = 19, .vocabulary = 53},
      {.name = "chunks", .rows = 37, .width = 19, .vocabulary = 53, .chunk_rows = 5, .bias = true},
      {.name = "aligned", .rows = 32, .width = 32, .vocabulary = 128, .chunk_rows = 16, .extras = true},
      {.name = "one_word", .rows = 4, .width = 3, .vocabulary = 1, .extras = true},
      {.name = "two_words", .rows = 64, .width = 3, .vocabulary = 2, .bias = true, .extras = true},
      {.name = "no_rows", .rows = 0, .width = 3, .vocabulary = 7, .bias = true, .extras = true},
      {.name = "large_logits", .rows = 20, .width = 8, .vocabulary = 40, .extras = true, .spread = 60},
      {.name = "evaluation", .rows = 21, .width = 16, .vocabulary = 67, .gradients = false, .extras = true},
      {.name = "wide", .rows = 9, .width = 24, .vocabulary = 3000, .chunk_rows = 4, .bias = true, .extras = true}};
  std::vector<CheckedCase> out;
  for (const Head& head : heads)
    for (const DType dtype : {DType::kF32, DType::kBF16}) out.push_back(head_check(head, dtype));
  return out;
}

GradientCase head_gradient() {
  static const Head head{.name = "head", .rows = 4, .width = 3, .vocabulary = 6, .bias = true};
  static const std::vector<int32_t> labels = {2, 0, 5, -1};
  GradientCase gradient;
  gradient.name = "head";
  gradient.inputs = {{"hidden", head.rows * head.width, normal()},
                     {"weight", head.vocabulary * head.width, normal()},
                     {"bias", head.vocabulary, normal()}};
  gradient.outputs = {{"loss", head.rows}};
  gradient.forward = [](OpValues& v) { reference_of(head, v, labels).forward(v.data("loss")); };
  gradient.backward = [](OpValues& v) {
    std::vector<double> row_weight = v["dloss"];
    row_weight[3] = 0;  // its label is outside the vocabulary, its loss constant
    reference_of(head, v, labels).backward(row_weight.data(), v.data("dhidden"), v.data("dweight"), v.data("dbias"));
  };
  return gradient;
}

INSTANTIATE_TEST_SUITE_P(CrossEntropy, OpCheck, ::testing::ValuesIn(head_checks()), case_name);
INSTANTIATE_TEST_SUITE_P(CrossEntropy, GradientCheck, ::testing::Values(head_gradient()), gradient_name);

/// Two rows, three words, two hidden units; on the CPU.
struct SmallHead {
  std::unique_ptr<Device> device = make_device("cpu");
  LinearCrossEntropyArgs args;
  SmallHead() {
    const auto make = [&](Shape shape, DType dtype, std::vector<double> list) {
      const Tensor tensor = Tensor::empty(*device, shape, dtype, {MemoryCategory::kActivations, "test"});
      write_values(tensor, list);
      return tensor;
    };
    args.hidden = make({2, 2}, DType::kF32, {1, 2, 3, 4});
    args.weight = make({3, 2}, DType::kF32, {1, 0, 0, 1, 1, 1});
    args.labels = make({2}, DType::kI32, {2, 0});
    args.loss = make({2}, DType::kF32, {0, 0});
    args.row_weight = make({2}, DType::kF32, {1, 1});
    args.dhidden = make({2, 2}, DType::kF32, {0, 0, 0, 0});
    args.logit_maximum = make({1}, DType::kF32, {0});
  }
  void run() { linear_cross_entropy(device->default_stream(), args); }
};

TEST(CrossEntropy, GradientsAreOptionalOneByOne) {
  SmallHead head;
  head.run();
  EXPECT_NEAR(head.args.loss.data<float>()[0], std::log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0)) - 3, 1e-6);
  EXPECT_EQ(*head.args.logit_maximum.data<float>(), 7.0f);
}

TEST(CrossEntropy, OfEqualLogitsTheFirstIsTheGreedyChoice) {
  SmallHead head;
  write_values(head.args.weight, {1, 0, 1, 0, 0, 0});
  write_values(head.args.labels, {1, 0});
  head.args.greedy_correct = Tensor::empty(*head.device, {2}, DType::kU8, {MemoryCategory::kActivations, "test"});
  head.run();
  EXPECT_EQ(read_values(head.args.greedy_correct), (std::vector<double>{0, 1}));
}

TEST(CrossEntropy, RefusesAWeightedLabelOutsideTheVocabulary) {
  SmallHead head;
  write_values(head.args.labels, {2, 3});
  try {
    head.run();
    FAIL() << "accepted";
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what()).find("label 3 of row 1 is outside the vocabulary of 3"), std::string::npos)
        << error.what();
  }
}

TEST(CrossEntropy, NotANumberReachesLossGradientAndMaximum) {
  SmallHead head;
  write_values(head.args.hidden, {1, 2, std::nan(""), 4});
  head.run();
  EXPECT_TRUE(std::isfinite(head.args.loss.data<float>()[0]));
  EXPECT_TRUE(std::isnan(head.args.loss.data<float>()[1]));
  EXPECT_TRUE(std::isnan(head.args.dhidden.data<float>()[2]));
  EXPECT_TRUE(std::isnan(*head.args.logit_maximum.data<float>()));
}

int64_t workspace_of(int64_t rows, int64_t width, int64_t vocabulary) {
  const auto device = make_device("sim");
  const auto make = [&](Shape shape, DType dtype) {
    return Tensor::empty(*device, shape, dtype, {MemoryCategory::kActivations, "test"});
  };
  LinearCrossEntropyArgs args;
  args.hidden = make({rows, width}, DType::kF32);
  args.weight = make({vocabulary, width}, DType::kF32);
  args.labels = make({rows}, DType::kI32);
  args.loss = make({rows}, DType::kF32);
  args.row_weight = make({rows}, DType::kF32);
  args.dhidden = make({rows, width}, DType::kF32);
  return linear_cross_entropy_workspace_bytes(args);
}

TEST(CrossEntropy, WorkspaceIsAChunkOfLogitsAndASmallWeightPackedTwice) {
  const int64_t chunk = 16 << 20, weight = 8192 * 64 * 4;
  EXPECT_GE(workspace_of(4096, 64, 8192), chunk);
  EXPECT_LT(workspace_of(4096, 64, 8192), chunk + 2 * weight + (1 << 20));
}

TEST(CrossEntropy, ALargeWeightIsNotCopied) {
  const int64_t fewest_rows = 64, vocabulary = 131072;  // the weight is a gibibyte
  EXPECT_LT(workspace_of(4096, 2048, vocabulary), fewest_rows * vocabulary * 4 + (8 << 20));
}

}  // namespace
}  // namespace conclave::kernels

// Options of the model whose effect no golden case shows: each changes what it says, and nothing else.
#include <gtest/gtest.h>

#include <cmath>

#include "trainer/small_models.h"

namespace conclave {
namespace {

class OptionEffects : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> engine(const Options& options) {
    return std::make_unique<Engine>(options, options.model.vocab_size, *device_, true);
  }
  double training_loss(const Words& words) {
    const Options options = small_moe(words);
    return take_step(*engine(options), options, 0).loss_sum;
  }
  double evaluation_loss(const Words& words) {
    const Options options = small_moe(words);
    const auto made = engine(options);
    return made->evaluate(random_batches(options, 0)[0]).loss_sum;
  }
  static const Parameter& parameter(Engine& engine, const std::string& name) {
    for (const Parameter* one : engine.store().parameters()) {
      if (one->spec.name == name) return *one;
    }
    throw std::out_of_range(name);
  }
  std::vector<float> values(const Tensor& tensor) { return to_host<float>(device_->default_stream(), tensor); }
  std::vector<float> weight(Engine& engine, const std::string& name) {
    return values(engine.store().main_weight(parameter(engine, name)));
  }
  std::unique_ptr<Device> device_ = make_device("cpu");
};

const Words kNoDropout = {"--attention-dropout", "0", "--hidden-dropout", "0"};

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST_F(OptionEffects, DropoutsActInTrainingOnly) {
  const double none = training_loss(kNoDropout), evaluated = evaluation_loss(kNoDropout);
  for (const char* option : {"--attention-dropout", "--hidden-dropout"}) {
    const double some = training_loss(with(kNoDropout, {option, "0.1"}));
    const double more = training_loss(with(kNoDropout, {option, "0.5"}));
    EXPECT_NE(some, none) << option;
    EXPECT_NE(more, some) << option;
    EXPECT_EQ(evaluation_loss(with(kNoDropout, {option, "0.5"})), evaluated) << option;
  }
}

TEST_F(OptionEffects, InitMethodStdIsTheSpreadOfTheWeights) {
  const auto spread = [&](const std::string& name, const Words& words) {
    const auto made = engine(small_moe(words));
    double squares = 0;
    const std::vector<float> list = weight(*made, name);
    for (const float value : list) squares += static_cast<double>(value) * static_cast<double>(value);
    return std::sqrt(squares / static_cast<double>(list.size()));
  };
  const std::string in = "decoder.layers.0.self_attention.linear_qkv.weight",
                    out = "decoder.layers.0.self_attention.linear_proj.weight";
  EXPECT_NEAR(spread(in, {}), 0.02, 0.002);
  EXPECT_NEAR(spread(in, {"--init-method-std", "0.1"}), 0.1, 0.01);
  EXPECT_NEAR(spread(out, {"--init-method-std", "0.1"}), 0.1 / std::sqrt(8.0), 0.004);  // 1/sqrt(2 L), L = 4
}

// bf16: weights that the products read are bf16, what the optimizer keeps is not.
TEST_F(OptionEffects, Bf16KeepsMainWeightsInF32) {
  const Options options = small_moe(with(kNoDropout, {"--bf16"}));
  const auto made = engine(options);
  take_step(*made, options, 0);
  EXPECT_EQ(made->store().compute_dtype(), DType::kBF16);
  const Parameter& router = parameter(*made, "decoder.layers.0.mlp.router.weight");
  int64_t fine = 0;
  for (const float value : values(made->store().main_weight(router))) fine += to_float(to_bf16(value)) != value ? 1 : 0;
  EXPECT_GT(fine, 100);
  EXPECT_EQ(made->store().gradient(router).dtype(), DType::kF32);
  const double exact = training_loss(kNoDropout), rounded = training_loss(with(kNoDropout, {"--bf16"}));
  EXPECT_NE(rounded, exact);
  EXPECT_NEAR(rounded, exact, 4e-3 * exact);
}

const std::string kOffset = "decoder.layers.2.self_attention.core_attention.softmax_offset";

TEST_F(OptionEffects, SoftmaxTypes) {
  const Words one = with(kNoDropout, {"--softmax-type", "off-by-one"});
  const Words learned = with(kNoDropout, {"--softmax-type", "learnable"});
  EXPECT_NE(evaluation_loss(kNoDropout), evaluation_loss(one));
  EXPECT_NE(evaluation_loss(learned), evaluation_loss(one));
  // Learned offsets that are 0 are the same as one more in the denominator.
  const Options options = small_moe(learned);
  const auto made = engine(options);
  for (const Parameter* parameter : made->store().parameters()) {
    if (!parameter->spec.name.ends_with("softmax_offset")) continue;
    EXPECT_EQ(parameter->spec.shard.global_shape, std::vector<int64_t>({4}));
    EXPECT_FALSE(parameter->spec.weight_decay);
    copy_from_host<float>(device_->default_stream(), made->store().main_weight(*parameter),
                          std::vector<float>(4, 0.0f));
  }
  made->store().weights_changed(device_->default_stream());
  const MicroBatch batch = random_batches(options, 0)[0];
  EXPECT_EQ(made->evaluate(batch).loss_sum, evaluation_loss(one));
}

// The gradient of a learned offset against the slope of the loss.
TEST_F(OptionEffects, LearnedSoftmaxOffsetsGetTheirGradient) {
  const Options options =
      small_moe(with(kNoDropout, {"--softmax-type", "learnable", "--moe-aux-loss-coeff", "0", "--moe-z-loss-coeff", "0",
                                  "--init-method-std", "0.3", "--global-batch-size", "2", "--num-experts", "2"}));
  const MicroBatch batch = random_batches(options, 0)[0];
  const auto made = engine(options);
  const Parameter& offset = parameter(*made, kOffset);
  const Tensor main = made->store().main_weight(offset);
  const std::vector<float> start = values(main);
  const auto loss_at = [&](size_t head, float change) {
    std::vector<float> moved = start;
    moved[head] += change;
    copy_from_host<float>(device_->default_stream(), main, moved);
    made->store().weights_changed(device_->default_stream());
    return made->evaluate(batch).loss_sum / valid_tokens(batch);
  };
  std::vector<double> slopes;
  constexpr float kStep = 0.25f;
  for (size_t head = 0; head < 4; ++head)
    slopes.push_back((loss_at(head, kStep) - loss_at(head, -kStep)) / (2 * kStep));
  loss_at(0, 0);
  StepRequest request;
  request.update = false;
  request.rates = {.lr = 0, .decoupled_lr = 0, .weight_decay = 0, .step = 1};
  std::vector<float> gradient;
  request.on_gradients = [&] { gradient = values(made->store().gradient(offset)); };
  made->train_step(std::vector<MicroBatch>{batch}, request);
  ASSERT_EQ(gradient.size(), 4u);
  for (size_t head = 0; head < 4; ++head)
    EXPECT_NEAR(static_cast<double>(gradient[head]), slopes[head], 0.03 * std::fabs(slopes[head]) + 2e-6) << head;
}

}  // namespace
}  // namespace conclave

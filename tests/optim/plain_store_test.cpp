#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/elementwise.h"
#include "optim/training_store.h"

namespace conclave {
namespace {

/// A store of two parameters, one of them used twice if `tied`.
class StoreTest : public ::testing::TestWithParam<std::tuple<OptimizerKind, bool>> {
 protected:
  void SetUp() override {
    config_.kind = std::get<0>(GetParam());
    store_ = make_plain_store(*device_, DType::kBF16, &config_);
    ParameterSpec weight{.name = "weight", .shard = ShardSpec::whole({5, 7}), .init = Initializer::normal(1)};
    weight.gradient_uses = uses();
    first_ = store_->declare(weight);
    second_ = store_->declare({.name = "bias", .shard = ShardSpec::whole({7}), .weight_decay = false});
    store_->allocate(1);
  }

  int uses() const { return std::get<1>(GetParam()) ? 2 : 1; }
  void add_gradients() {
    for (int use = 0; use < uses(); ++use)
      kernels::fill(stream_, {.x = store_->gradient(*first_, use), .value = 2.0 + use});
    kernels::fill(stream_, {.x = store_->gradient(*second_, 0), .value = -1});
  }
  void step() {
    store_->begin_step(stream_, 1);
    add_gradients();
    store_->finalize_gradients(stream_, 1);
    store_->update(stream_, {.lr = 0.1, .decoupled_lr = 0.1, .step = 1}, {});
  }
  /// What the modules of the next step would add to.
  bool next_step_starts_at_zero() {
    store_->begin_step(stream_, 1);
    bool zero = true;
    const auto look = [&](const Tensor& gradient) {
      for (const float value : to_host<float>(stream_, gradient)) zero = zero && value == 0;
    };
    for (int use = 0; use < uses(); ++use) look(store_->gradient(*first_, use));
    look(store_->gradient(*second_, 0));
    return zero;
  }

  std::unique_ptr<Device> device_ = make_device("cpu");
  Stream stream_ = device_->default_stream();
  OptimizerConfig config_;
  std::unique_ptr<TrainingStore> store_;
  Parameter* first_ = nullptr;
  Parameter* second_ = nullptr;
};

TEST_P(StoreTest, GradientsAreZeroBeforeTheFirstStep) { EXPECT_TRUE(next_step_starts_at_zero()); }

TEST_P(StoreTest, GradientsAreZeroAfterAnUpdate) {
  step();
  EXPECT_TRUE(next_step_starts_at_zero());
}

TEST_P(StoreTest, GradientsAreZeroAfterAStepWithoutUpdate) {
  step();
  store_->begin_step(stream_, 1);
  add_gradients();  // and then the step is rejected
  EXPECT_TRUE(next_step_starts_at_zero());
}

TEST_P(StoreTest, GradientsAreZeroAfterSomebodyWroteIntoOneBetweenSteps) {
  step();
  add_gradients();
  EXPECT_TRUE(next_step_starts_at_zero());
}

TEST_P(StoreTest, UpdateUsesTheSumOfAllUses) {
  const std::vector<float> before = to_host<float>(stream_, store_->main_weight(*second_));
  step();
  store_->begin_step(stream_, 1);
  add_gradients();
  store_->finalize_gradients(stream_, 1);
  const float sum = uses() == 2 ? 5.0f : 2.0f;
  for (const float value : to_host<float>(stream_, store_->gradient(*first_, 0))) EXPECT_EQ(value, sum);
  EXPECT_NE(to_host<float>(stream_, store_->main_weight(*second_)), before);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, StoreTest,
                         ::testing::Combine(::testing::Values(OptimizerKind::kAdam, OptimizerKind::kSgd),
                                            ::testing::Bool()));

}  // namespace
}  // namespace conclave

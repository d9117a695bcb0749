#include "optim/lr_schedule.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace conclave {
namespace {

OptimizerOptions options() {
  OptimizerOptions optimizer;
  optimizer.lr = 1.0;
  optimizer.min_lr = 0.1;
  return optimizer;
}

TEST(LearningRate, WarmsUpAndDecays) {
  OptimizerOptions optimizer = options();
  optimizer.lr_warmup_iters = 10;
  const RateConfig rates = rate_config(optimizer, 100, 0, 4);
  EXPECT_EQ(learning_rate(rates, 0), 0.0);
  EXPECT_EQ(learning_rate(rates, 20), 0.5);
  EXPECT_EQ(learning_rate(rates, 40), 1.0);
  EXPECT_NEAR(learning_rate(rates, 220), 0.55, 1e-15);
  EXPECT_NEAR(learning_rate(rates, 400), 0.1, 1e-15);
  EXPECT_EQ(learning_rate(rates, 401), 0.1);
}

TEST(LearningRate, ConstantNeverEnds) {
  OptimizerOptions optimizer = options();
  optimizer.lr_decay_style = "constant";
  EXPECT_EQ(learning_rate(rate_config(optimizer, 10, 0, 1), 1e9), 1.0);
}

TEST(LearningRate, LengthsInSamplesDoNotDependOnTheBatch) {
  OptimizerOptions optimizer = options();
  optimizer.lr_warmup_samples = 50;
  const RateConfig small = rate_config(optimizer, 0, 1000, 1), large = rate_config(optimizer, 0, 1000, 16);
  for (const double samples : {0.0, 25.0, 50.0, 500.0, 1000.0}) {
    EXPECT_EQ(learning_rate(small, samples), learning_rate(large, samples));
  }
}

TEST(WeightDecay, GrowsToItsEnd) {
  OptimizerOptions optimizer = options();
  optimizer.weight_decay_incr_style = "linear";
  optimizer.start_weight_decay = 0.0;
  optimizer.end_weight_decay = 0.2;
  const RateConfig rates = rate_config(optimizer, 10, 0, 1);
  EXPECT_EQ(weight_decay(rates, 0), 0.0);
  EXPECT_NEAR(weight_decay(rates, 5), 0.1, 1e-16);
  EXPECT_EQ(weight_decay(rates, 11), 0.2);
}

TEST(LearningRate, ContradictionsAreRefused) {
  OptimizerOptions optimizer = options();
  EXPECT_THROW(rate_config(optimizer, 0, 0, 1), UserError);
  optimizer.min_lr = 2;
  EXPECT_THROW(rate_config(optimizer, 10, 0, 1), UserError);
  optimizer = options();
  optimizer.lr_warmup_iters = 10;
  EXPECT_THROW(rate_config(optimizer, 10, 0, 1), UserError);
  optimizer = options();
  optimizer.lr_decay_style = "WSD";
  EXPECT_THROW(rate_config(optimizer, 10, 0, 1), UserError);
  optimizer.lr_wsd_decay_iters = 5;
  EXPECT_NO_THROW(rate_config(optimizer, 10, 0, 1));
}

}  // namespace
}  // namespace conclave

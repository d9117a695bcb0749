#include "trainer/iteration_line.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <limits>

namespace conclave {
namespace {

IterationLine plain_line() {
  IterationLine line;
  line.timestamp = "2025-01-31 12:34:56";
  line.iteration = 10;
  line.train_iterations = 2000;
  line.consumed_samples = 80;
  line.step_ms = 1234.56;
  line.learning_rate = 1e-4;
  line.global_batch_size = 8;
  line.losses = {{"lm loss", 10.5}, {"load_balancing_loss", 1.0625}};
  line.grad_norm = 3.14159;
  return line;
}

TEST(IterationLine, Plain) {
  EXPECT_EQ(
      iteration_line_text(plain_line()),
      " [2025-01-31 12:34:56] iteration       10/    2000 | consumed samples:           80 | elapsed time per "
      "iteration (ms): 1234.6 | learning rate: 1.000000E-04 | global batch size:     8 | lm loss: 1.050000E+01 | "
      "load_balancing_loss: 1.062500E+00 | loss scale: 1.0 | grad norm: 3.142 | number of skipped iterations:   0 "
      "| number of nan iterations:   0 |");
}

TEST(IterationLine, WithEverything) {
  IterationLine line = plain_line();
  line.skipped_samples = 16;
  line.tflops = 0.26;
  line.exact_tflops = 0.1234;
  line.ceiling_share = 0.617;
  line.losses = {{"lm loss", std::numeric_limits<double>::quiet_NaN()}};
  line.loss_scale = 4096;
  line.zeros_in_gradient = 12;
  line.params_norm = 100.0;
  line.skipped_iterations = 2;
  line.nan_iterations = 1;
  EXPECT_EQ(
      iteration_line_text(line),
      " [2025-01-31 12:34:56] iteration       10/    2000 | consumed samples:           80 | skipped samples: "
      "          16 | elapsed time per iteration (ms): 1234.6 | throughput per GPU (TFLOP/s/GPU): 0.3 | exact causal "
      "(TFLOP/s): 0.123, 61.7% of the product ceiling | learning rate: 1.000000E-04 | global batch size:     8 | lm "
      "loss: NAN | loss scale: 4096.0 | grad norm: 3.142 | num zeros: 12 | params norm: 100.000 | number of skipped "
      "iterations:   2 | number of nan iterations:   1 |");
  line.grad_norm.reset();
  EXPECT_EQ(iteration_line_text(line).find("grad norm"), std::string::npos);
}

TEST(IterationLine, Validation) {
  EXPECT_EQ(validation_line_text(100, "valid", 2.0),
            " validation loss at iteration 100 | lm loss value: 2.000000E+00 | lm loss PPL: 7.389056E+00 |");
  EXPECT_EQ(
      validation_line_text(100, "test", 25.0),
      " validation loss at iteration 100 on test set | lm loss value: 2.500000E+01 | lm loss PPL: 4.851652E+08 |");
}

TEST(IterationLine, Timestamp) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  EXPECT_EQ(local_timestamp(1000000000.7), "2001-09-09 01:46:40");
}

}  // namespace
}  // namespace conclave

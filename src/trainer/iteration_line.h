// The lines that training prints, in Megatron's form. Pure: values in, text out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace conclave {

/// One log interval. Absent values leave their field out.
struct IterationLine {
  std::string timestamp;  ///< "2025-01-31 12:34:56", see local_timestamp()
  int64_t iteration = 0;
  int64_t train_iterations = 0;
  int64_t consumed_samples = 0;
  int64_t skipped_samples = 0;          ///< shown if not 0
  double step_ms = 0;                   ///< mean of the interval
  std::optional<double> tflops;         ///< per rank, by Megatron's FLOP count
  std::optional<double> exact_tflops;   ///< per rank, with causal attention counted as what it is
  std::optional<double> ceiling_share;  ///< exact_tflops over the measured product ceiling of the machine, 0 to 1
  double learning_rate = 0;
  int64_t global_batch_size = 0;                       ///< sequences
  std::vector<std::pair<std::string, double>> losses;  ///< "lm loss", "load_balancing_loss", ...
  double loss_scale = 1;
  std::optional<double> grad_norm;
  std::optional<int64_t> zeros_in_gradient;
  std::optional<double> params_norm;
  std::optional<double> max_attention_logit;
  int64_t skipped_iterations = 0;
  int64_t nan_iterations = 0;
};

/// " [timestamp] iteration        1/     100 | consumed samples: ... |", without a line break.
std::string iteration_line_text(const IterationLine& line);

/// " validation loss at iteration 100 | lm loss value: 3.2E+00 | lm loss PPL: 2.4E+01 |". `split` is "valid" or "test".
std::string validation_line_text(int64_t iteration, const std::string& split, double lm_loss);

/// Unix seconds as local time.
std::string local_timestamp(double seconds);

}  // namespace conclave

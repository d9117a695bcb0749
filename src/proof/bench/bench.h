// Measuring: ops, layers, whole steps; each beside the machine's product ceiling of the same run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "config/options.h"
#include "device/device.h"
#include "proof/bench/step_profile.h"

namespace conclave::proof {

struct BenchRow {
  std::string name;
  double best_seconds = 0, median_seconds = 0;
  int64_t calls = 0;
  Cost cost;               ///< of one call
  double model_flops = 0;  ///< steps: those of exact_step_flops()
  int64_t peak_bytes = 0;  ///< device memory beyond what stood before
  double tokens = 0;       ///< of one call; 0: not counted in tokens
  /// Layers and steps only: medians over the first, the middle and the last tenth of the calls (from 30 calls on), and
  /// the oneDNN primitives made during the last nine tenths: none in a steady step.
  std::vector<double> course_seconds;
  int64_t primitives_made = -1;
  double processor_seconds = 0;  ///< of all threads, mean over the calls: what a machine with other work still tells
};

struct BenchReport {
  double f32_ceiling = 0, bf16_ceiling = 0;  ///< FLOP/s of products, measured before and after: the larger
  std::vector<BenchRow> rows;
  StepProfile profile;  ///< of one more step; steps only
};

/// Names of the op families that have cases.
std::vector<std::string> bench_op_names();
/// Every case of a family ("gemm", "attention_forward", ...); UserError naming the known ones otherwise.
BenchReport bench_op(const std::string& name, Device& device, double seconds);
/// One transformer layer of the model of `options`: forward, and forward with backward.
BenchReport bench_layer(const Options& options, int64_t vocab, Device& device, double seconds);
/// Whole training steps on random tokens, and one with every op timed.
BenchReport bench_step(const Options& options, int64_t vocab, Device& device, double seconds);

/// A table for people: time, GFLOP/s, share of the ceiling, GB/s, peak bytes, tokens/s.
std::string bench_table(const BenchReport& report);
Json bench_json(const BenchReport& report);

}  // namespace conclave::proof

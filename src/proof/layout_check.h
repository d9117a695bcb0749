// Whether a parallel layout trains the model that one process trains: losses, gradient norms, every gradient of the
// first step and every weight after the last.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comm/world.h"
#include "config/options.h"

namespace conclave::proof {

/// What one process gives.
struct TrainingTrace {
  std::vector<double> losses, gradient_norms;           ///< by step
  std::map<std::string, std::vector<float>> gradients;  ///< of step 1, by parameter, whole
  std::map<std::string, std::vector<float>> weights;    ///< after the last step
};

/// `options` are resolved; their layout is ignored. Tokens are drawn from the seed, a tenth of them is masked.
TrainingTrace trace_one_process(const Options& options, int64_t vocab, int64_t steps);

/// How far a layout may be off, relative; of gradients and weights: of the tensor's largest magnitude.
struct LayoutBounds {
  double loss = 1e-5, first_norm = 1e-5, norm = 1e-4, gradient = 1e-4;
  double weight = 1e-3;
  double rate_share =
      0.05;  ///< of the steps' learning rates, beside `weight`: with Adam alone, which enlarges what is nearly zero
};
LayoutBounds layout_bounds(const Options& options);

struct TensorDifference {
  std::string name;
  double difference = 0;  ///< largest |difference| over the bound: more than 1 is too far
  double relative = 0;    ///< of the largest magnitude
};

struct LayoutReport {
  std::vector<double> losses, gradient_norms;
  double loss_difference = 0, norm_difference = 0;   ///< over the bound, the largest of all steps
  std::vector<TensorDifference> gradients, weights;  ///< in order of name
  /// Empty if all is within bounds; else the first that is not.
  std::string fault() const;
};

/// Collective over `world`: trains the same steps in the layout of `options` and compares. The same report on every
/// rank.
LayoutReport check_layout(const Options& options, int64_t vocab, World& world, const TrainingTrace& one_process);

}  // namespace conclave::proof

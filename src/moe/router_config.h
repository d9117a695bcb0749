// What a router is told; every field is an option of the same name (docs/routing.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/router_balance.h"
#include "kernels/router_capacity.h"
#include "nn/parameter.h"

namespace conclave {

struct BalanceConfig {
  kernels::BalanceKind kind = kernels::BalanceKind::kMicroBatch;
  double coefficient = 0;  ///< 0: the loss is off
};

/// Noise instead of logits, for benchmarks.
struct ForcedRouting {
  bool on = false;
  /// Standard deviation of a bias per expert on top of the noise: > 0 drawn anew each iteration, < 0 once for the
  /// layer, 0 none.
  double bias_deviation = 0;
};

struct RouterConfig {
  std::string name;     ///< "decoder.layers.0.mlp.router": parameters name.weight, name.bias; buffer name.expert_bias
  int64_t experts = 0;  ///< E
  int64_t hidden = 0;   ///< H
  kernels::RouterRule rule;
  bool sinkhorn = false;
  bool linear_bias = false;
  bool expert_bias = false;
  double bias_update_rate = 1e-3;
  std::optional<DType> dtype;  ///< of the logits: f32 or f64; none: that of the parameters
  double jitter = 0;
  ForcedRouting forced;
  std::vector<BalanceConfig> balance;
  double z_loss = 0;  ///< 0: off
  std::optional<double> capacity_factor;
  bool pad_to_capacity = false;
  kernels::DropPolicy drop_policy = kernels::DropPolicy::kProbs;
  Initializer init;
  Slice tensor;                    ///< TP, over which the parameters are replicated
  bool sequence_parallel = false;  ///< each TP rank routes its own positions, and has addends of the gradients
};

/// Names under which losses are logged.
std::string_view balance_loss_name(kernels::BalanceKind kind);
inline constexpr std::string_view kZLossName = "z_loss";

}  // namespace conclave

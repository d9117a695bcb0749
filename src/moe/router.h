// Decides which experts a token goes to and with what weight: gate, z-loss, choice, drop, balancing losses, counters.
// docs/routing.md has the formulas and their order. A rank routes its own tokens; what the losses and the expert bias
// count is summed over the ranks that hold the others, so all members of those groups call the same functions.
#pragma once

#include <memory>
#include <vector>

#include "moe/balance_groups.h"
#include "moe/dispatch/dispatcher.h"
#include "moe/gate.h"
#include "moe/router_config.h"
#include "moe/routing_load.h"
#include "moe/routing_replay.h"
#include "moe/statistics.h"

namespace conclave {

/// What backward needs. A routing is decided once per micro-batch, so all of it but `input` outlives recomputation.
struct RouterSaved {
  SavedTensor input;   ///< [S,B,H], before jitter
  Tensor logits;       ///< [T,E] router dtype
  Tensor chosen;       ///< [T,K] i32, before dropping
  Tensor kept;         ///< [T,K] i32, after dropping; only with a capacity
  Tensor slope;        ///< [B,E] f64, d objective / d balancing score; only with balancing losses
  Tensor z_mean_over;  ///< [1] f64, tokens of the micro-batch where other ranks hold some; only with a z-loss
  double z_scale = 0;  ///< weight of the z-loss in the objective; 0: none
};

/// Results that only somebody who looks needs: proofs, layer statistics. Undefined where they do not apply.
struct RouterInspection {
  Tensor logits;               ///< [T,E]
  Tensor map;                  ///< [T,E] u8 after dropping, fillers of a padded capacity included
  Tensor aux_scores, aux_map;  ///< [T,E] f32 or f64, u8: what the balancing losses use
  /// [1] f64 each, with coefficient, in the order of Router::loss_names(); the z-loss: this rank's addend.
  std::vector<Tensor> losses;
  Tensor dlogits;  ///< [T,E], by backward
};

class Router {
 public:
  Router(ParameterStore& store, Device& device, const RouterConfig& config);

  /// x [S,B,H], x_saved the same for later -> K choices per token. probs [T,K] are f64 for f64 logits and f32
  /// otherwise.
  Routing forward(const Context& context, const SavedTensor& x_saved, const Tensor& x, RouterSaved* saved,
                  RouterInspection* look = nullptr) const;
  /// dprobs [T,K] as probs (not read where dropped). Adds the gradient at x to dx [S,B,H] and enqueues the gate's.
  void backward(const Context& context, const Tensor& dprobs, const RouterSaved& saved, const Tensor& dx,
                RouterInspection* look = nullptr) const;

  // The same without the gate: from logits [T,E], and to their gradient.
  Routing route(const Context& context, const Tensor& logits, RouterSaved* saved,
                RouterInspection* look = nullptr) const;
  Tensor route_backward(const Context& context, const Tensor& dprobs, const RouterSaved& saved) const;

  /// Before the first micro-batch of a step; forgets a step that did not end.
  /// What a forward pass of `tokens` counts on the host: for passes that are replayed.
  void count_micro_batch(int64_t tokens) const { statistics_->count_micro_batch(tokens * config_.rule.topk); }
  void begin_step(const Stream& stream) const { statistics_->begin_step(stream); }
  /// After the gradients of a step are final: updates the expert bias from the step's counts and closes its statistics.
  void end_step(const Stream& stream, ParameterStore& store, ProcessGroups& groups = ProcessGroups::single()) const;

  const RoutingStatistics& statistics() const { return *statistics_; }
  void reset_statistics(const Stream& stream) const { statistics_->reset(stream); }
  /// Balancing losses that are on, then the z-loss.
  std::vector<std::string> loss_names() const;
  const RouterConfig& config() const { return config_; }
  /// Null (the start): nobody records or replays.
  void set_replay(RoutingReplay* replay) { replay_ = replay; }
  /// What routing is on `sim`; null (the start): balanced.
  void set_load(const RoutingLoad* load) { load_ = load; }

 private:
  RouterConfig config_;
  Gate gate_;
  std::unique_ptr<RoutingStatistics> statistics_;
  RoutingReplay* replay_ = nullptr;
  const RoutingLoad* load_ = nullptr;

  Tensor jittered(const Context& context, const Tensor& x) const;
  void overwrite_with_noise(const Context& context, const Tensor& logits) const;
  void add_z_loss(const Context& context, const Tensor& logits, RouterSaved* saved, RouterInspection* look) const;
  void choose(const Context& context, const Tensor& logits, const Tensor& chosen, const Tensor& probs) const;
  int64_t capacity(int64_t tokens) const;
  void drop(const Context& context, const Tensor& chosen, Routing* routing) const;
  void declare(const Context& context, Routing* routing) const;
  Tensor final_map(const Context& context, const Routing& routing) const;
  void add_balance_losses(const Context& context, const Tensor& logits, int64_t micro_batches, RouterSaved* saved,
                          RouterInspection* look) const;
  BalanceSums sum_scores(const Context& context, const Tensor& logits, RouterInspection* look) const;
  void count(const Context& context, const Routing& routing) const;
};

}  // namespace conclave

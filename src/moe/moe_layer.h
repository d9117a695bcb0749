// A Mixture-of-Experts feed-forward layer in its phases: route, dispatch, experts, combine; each with its backward.
#pragma once

#include <memory>
#include <string>

#include "moe/dispatch/dispatcher.h"
#include "moe/experts.h"
#include "moe/router.h"
#include "moe/shared_expert.h"

namespace conclave {

struct MoeLayerConfig {
  RouterConfig router;
  ExpertsConfig experts;
  std::unique_ptr<MlpConfig> shared;  ///< none: no shared expert
  bool shared_gate = false;
  DispatchConfig dispatch;
};

/// What stands between the phases, and between forward and backward.
struct MoeSaved {
  SavedTensor input;  ///< [S,B,H]
  // These stay when the rest is discarded: a routing is decided once, and what it means for the other ranks exchanged
  // once.
  RouterSaved router;
  Routing routing;
  std::shared_ptr<const DispatchPlan> plan;
  ExpertRows rows;
  ExpertsSaved experts;
  SharedExpertSaved shared;
  // In flight.
  Tensor expert_out;  ///< [P,H], forward
  Tensor shared_out;  ///< [S,B,H], forward
  Tensor dout;        ///< [S,B,H], backward
  Tensor dshared;     ///< [S,B,H], backward: the shared expert's input gradient
  ExpertsGradient gradient;

  /// Drops everything that a forward in Pass::kAgain makes anew: all but the routing and its plan.
  void discard();
  /// Drops results of forward that backward has no use for.
  void drop_forward_results();
};

/// Every member of an expert group (ETP x EP) calls the same phases in the same order, with as many tokens T.
///
/// Rows that came from other ranks are kept for FC1's weight gradient: they are not fetched again, and no closure of a
/// SavedTensor holds a collective. Rows of one rank alone are a permuted copy of its input and made again.
///
/// The shared expert runs before the router, or (overlap_shared, where rows travel) while they travel: forward during
/// dispatch, backward during the combination's backward. The results are the same bits.
class MoeLayer {
 public:
  MoeLayer(ParameterStore& store, Device& device, const MoeLayerConfig& config);

  // Forward phases. x [S,B,H]. In Pass::kAgain the routing that stands in `saved` is used again.
  void route(const Context& context, const SavedTensor& x_saved, const Tensor& x, MoeSaved* saved) const;
  void dispatch(const Context& context, const SavedTensor& x_saved, const Tensor& x, MoeSaved* saved) const;
  void run_experts(const Context& context, MoeSaved* saved) const;
  Tensor combine(const Context& context, const Shape& shape, MoeSaved* saved) const;  ///< [S,B,H]

  // Backward phases.
  void combine_backward(const Context& context, const Tensor& dy, MoeSaved* saved) const;
  void experts_backward(const Context& context, MoeSaved* saved) const;
  Tensor dispatch_backward(const Context& context, const Shape& shape, MoeSaved* saved,
                           Tensor* dprobs) const;  ///< dx so far [S,B,H]
  void route_backward(const Context& context, const Tensor& dprobs, const Tensor& dx,
                      MoeSaved* saved) const;  ///< adds to dx

  const Router& router() const { return router_; }
  Router& router() { return router_; }

 private:
  Router router_;
  Experts experts_;
  std::unique_ptr<SharedExpert> shared_;
  DispatchConfig dispatch_;

  bool reruns_shared(const Context& context) const;
  bool overlaps_shared() const { return shared_ && dispatch_.overlap_shared; }
  void run_shared(const Context& context, const SavedTensor& x_saved, const Tensor& x, MoeSaved* saved) const;
  void run_shared_backward(const Context& context, MoeSaved* saved) const;
  void observe_routing(const Context& context, const MoeSaved& saved) const;
};

}  // namespace conclave

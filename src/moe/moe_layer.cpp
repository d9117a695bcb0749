#include "moe/moe_layer.h"

#include <utility>

#include "kernels/elementwise.h"

namespace conclave {

void MoeSaved::discard() {
  MoeSaved kept;
  kept.router = std::move(router);
  kept.router.input = SavedTensor();
  kept.routing = std::move(routing);
  kept.plan = std::move(plan);
  *this = std::move(kept);
}

void MoeSaved::drop_forward_results() {
  expert_out = Tensor();
  shared_out = Tensor();
}

MoeLayer::MoeLayer(ParameterStore& store, Device& device, const MoeLayerConfig& config)
    : router_(store, device, config.router), experts_(store, config.experts), dispatch_(config.dispatch) {
  if (config.shared) shared_ = std::make_unique<SharedExpert>(store, *config.shared, config.shared_gate);
}

void MoeLayer::run_shared(const Context& context, const SavedTensor& x_saved, const Tensor& x, MoeSaved* saved) const {
  saved->shared_out = shared_->forward(context, x_saved, x, &saved->shared);
  if (reruns_shared(context)) saved->shared = {};
}

void MoeLayer::run_shared_backward(const Context& context, MoeSaved* saved) const {
  if (reruns_shared(context)) shared_->forward(context, saved->input, saved->input.get(), &saved->shared);
  saved->dshared = shared_->backward(context, saved->dout, saved->shared);
  saved->shared = {};
}

void MoeLayer::route(const Context& context, const SavedTensor& x_saved, const Tensor& x, MoeSaved* saved) const {
  saved->input = x_saved;
  if (shared_ && !overlaps_shared()) run_shared(context, x_saved, x, saved);
  if (context.pass == Pass::kAgain) {
    saved->router.input = x_saved;
  } else {
    saved->routing = router_.forward(context, x_saved, x, &saved->router);
    observe_routing(context, *saved);
  }
}

bool MoeLayer::reruns_shared(const Context& context) const {
  return context.with_gradient && context.save_policy.reruns("shared_experts");
}

void MoeLayer::observe_routing(const Context& context, const MoeSaved& saved) const {
  if (context.observer == nullptr) return;
  const std::string& name = router_.config().name;
  if (saved.router.logits.defined()) context.observe(name + ".logits", saved.router.logits);
  context.observe(name + ".experts", saved.routing.experts);
  context.observe(name + ".probs", saved.routing.probs);
}

void MoeLayer::dispatch(const Context& context, const SavedTensor& x_saved, const Tensor& x, MoeSaved* saved) const {
  if (!saved->plan) saved->plan = plan_dispatch(context, dispatch_, saved->routing);
  Trip trip{"dispatch.rows", {}};
  if (overlaps_shared()) trip.meanwhile = [&] { run_shared(context, x_saved, x, saved); };
  const Tensor rows = saved->plan->to_experts(context, x.as_matrix(), trip);
  saved->rows.offsets = saved->plan->offsets();
  saved->rows.row_weight = saved->plan->row_weight();
  saved->rows.rows = SavedTensor(rows);
  if (saved->plan->stays_here())
    saved->rows.rows = SavedTensor(rows, [again = context, x_saved, plan = saved->plan] {
      return plan->to_experts(again, x_saved.get().as_matrix(), {"dispatch.rows", {}});
    });
}

void MoeLayer::run_experts(const Context& context, MoeSaved* saved) const {
  saved->expert_out = experts_.forward(context, saved->rows, &saved->experts);
  saved->rows = {};
}

Tensor MoeLayer::combine(const Context& context, const Shape& shape, MoeSaved* saved) const {
  const Tensor out = saved->plan->to_tokens(context, saved->expert_out, {"combine.rows", {}});
  saved->expert_out = Tensor();
  if (shared_)
    kernels::scale(context.stream,
                   {.x = saved->shared_out.as_matrix(), .y = out, .accumulate = kernels::Accumulate::kAdd});
  saved->shared_out = Tensor();
  return out.view(shape);
}

void MoeLayer::combine_backward(const Context& context, const Tensor& dy, MoeSaved* saved) const {
  saved->dout = dy;
  Trip trip{"combine_backward.rows", {}};
  if (overlaps_shared()) trip.meanwhile = [&] { run_shared_backward(context, saved); };
  saved->gradient.rows = saved->plan->to_experts(context, dy.as_matrix(), trip);
}

void MoeLayer::experts_backward(const Context& context, MoeSaved* saved) const {
  const Tensor dy = std::exchange(saved->gradient.rows, Tensor());
  saved->gradient = experts_.backward(context, dy, saved->experts);
  saved->experts = {};
}

Tensor MoeLayer::dispatch_backward(const Context& context, const Shape& shape, MoeSaved* saved, Tensor* dprobs) const {
  *dprobs = saved->plan->choices_to_tokens(context, saved->gradient.row_weight);
  const Tensor dx = saved->plan->to_tokens(context, saved->gradient.rows, {"dispatch_backward.rows", {}});
  saved->gradient = {};
  return dx.view(shape);
}

void MoeLayer::route_backward(const Context& context, const Tensor& dprobs, const Tensor& dx, MoeSaved* saved) const {
  router_.backward(context, dprobs, saved->router, dx);
  if (shared_) {
    if (!overlaps_shared()) run_shared_backward(context, saved);
    kernels::scale(context.stream, {.x = saved->dshared, .y = dx, .accumulate = kernels::Accumulate::kAdd});
  }
  saved->dshared = Tensor();
  saved->dout = Tensor();
}

}  // namespace conclave

#include "moe/moe_layer.h"

#include <utility>

#include "kernels/elementwise.h"

namespace conclave {

void MoeSaved::discard() {
  RouterSaved kept_router = std::move(router);
  kept_router.input = SavedTensor();
  Routing kept_routing = std::move(routing);
  *this = MoeSaved();
  router = std::move(kept_router);
  routing = std::move(kept_routing);
}

void MoeSaved::drop_forward_results() {
  expert_out = Tensor();
  shared_out = Tensor();
}

MoeLayer::MoeLayer(ParameterStore& store, Device& device, const MoeLayerConfig& config)
    : router_(store, device, config.router), experts_(store, config.experts), dispatcher_(make_reference_dispatcher()) {
  if (config.shared) shared_ = std::make_unique<SharedExpert>(store, *config.shared, config.shared_gate);
}

void MoeLayer::route(const Context& context, const SavedTensor& x_saved, const Tensor& x, MoeSaved* saved) const {
  saved->input = x_saved;
  if (shared_) {
    saved->shared_out = shared_->forward(context, x_saved, x, &saved->shared);
    if (reruns_shared(context)) saved->shared = {};
  }
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
  saved->rows = dispatcher_->dispatch(context, x_saved, x.as_matrix(), saved->routing, &saved->plan);
}

void MoeLayer::run_experts(const Context& context, MoeSaved* saved) const {
  saved->expert_out = experts_.forward(context, saved->rows, &saved->experts);
  saved->rows = {};
}

Tensor MoeLayer::combine(const Context& context, const Shape& shape, MoeSaved* saved) const {
  const Tensor out = dispatcher_->combine(context, saved->expert_out, saved->plan);
  saved->expert_out = Tensor();
  if (shared_)
    kernels::scale(context.stream,
                   {.x = saved->shared_out.as_matrix(), .y = out, .accumulate = kernels::Accumulate::kAdd});
  saved->shared_out = Tensor();
  return out.view(shape);
}

void MoeLayer::combine_backward(const Context& context, const Tensor& dy, MoeSaved* saved) const {
  saved->dout = dy;
  saved->gradient.rows = dispatcher_->combine_backward(context, dy.as_matrix(), saved->plan);
}

void MoeLayer::experts_backward(const Context& context, MoeSaved* saved) const {
  const Tensor dy = std::exchange(saved->gradient.rows, Tensor());
  saved->gradient = experts_.backward(context, dy, saved->experts);
  saved->experts = {};
}

Tensor MoeLayer::dispatch_backward(const Context& context, const Shape& shape, MoeSaved* saved, Tensor* dprobs) const {
  const Tensor dx = dispatcher_->dispatch_backward(context, saved->gradient, saved->plan, dprobs).view(shape);
  saved->gradient = {};
  return dx;
}

void MoeLayer::route_backward(const Context& context, const Tensor& dprobs, const Tensor& dx, MoeSaved* saved) const {
  router_.backward(context, dprobs, saved->router, dx);
  if (shared_) {
    if (reruns_shared(context)) shared_->forward(context, saved->input, saved->input.get(), &saved->shared);
    shared_->backward(context, saved->dout, saved->shared, dx);
  }
  saved->dout = Tensor();
}

}  // namespace conclave

#include "kernels/permute.h"
#include "moe/dispatch/dispatcher.h"

namespace conclave {
namespace {

class ReferenceDispatcher final : public Dispatcher {
 public:
  ExpertRows dispatch(const Context& context, const SavedTensor& x_saved, const Tensor& x, const Routing& routing,
                      DispatchPlan* plan) const override {
    const int64_t tokens = routing.experts.size(0), choices = routing.experts.size(1);
    const int64_t rows = routing.capacity > 0 ? routing.expert_count * routing.capacity : tokens * choices;
    plan->offsets = context.empty({routing.expert_count + 1}, DType::kI64, "dispatch.offsets");
    plan->row_token = context.empty({rows}, DType::kI32, "dispatch.row_token");
    plan->row_slot = context.empty({rows}, DType::kI32, "dispatch.row_slot");
    plan->slot_row = context.empty({tokens, choices}, DType::kI32, "dispatch.slot_row");
    plan->probs_dtype = routing.probs.dtype();
    kernels::permutation_plan(context.stream,
                              {.experts = routing.experts,
                               .expert_count = routing.expert_count,
                               .capacity = routing.capacity,
                               .counts = context.empty({routing.expert_count}, DType::kI64, "dispatch.counts"),
                               .offsets = plan->offsets,
                               .row_token = plan->row_token,
                               .row_slot = plan->row_slot,
                               .slot_row = plan->slot_row});
    ExpertRows out;
    out.offsets = plan->offsets;
    out.row_weight = context.empty({rows}, DType::kF32, "dispatch.row_weight");
    kernels::gather_slots(context.stream, {.values = routing.probs, .row_slot = plan->row_slot, .out = out.row_weight});
    // The permuted rows are K times the input and a plain copy of it: they are made again rather than kept.
    out.rows =
        SavedTensor(gather(context, x, plan->row_token), [again = context, x_saved, row_token = plan->row_token] {
          return gather(again, x_saved.get().as_matrix(), row_token);
        });
    return out;
  }

  Tensor combine(const Context& context, const Tensor& rows, const DispatchPlan& plan) const override {
    const Tensor out = context.empty({plan.slot_row.size(0), rows.size(1)}, rows.dtype(), "combine");
    kernels::combine_rows(context.stream, {.rows = rows, .slot_row = plan.slot_row, .weight = {}, .out = out});
    return out;
  }

  Tensor combine_backward(const Context& context, const Tensor& dy, const DispatchPlan& plan) const override {
    return gather(context, dy, plan.row_token);
  }

  Tensor dispatch_backward(const Context& context, const ExpertsGradient& gradient, const DispatchPlan& plan,
                           Tensor* dprobs) const override {
    *dprobs = context.empty(plan.slot_row.shape(), plan.probs_dtype, "dispatch.dprobs");
    kernels::scatter_slots(context.stream, {.rows = gradient.row_weight, .slot_row = plan.slot_row, .values = *dprobs});
    return combine(context, gradient.rows, plan);
  }

 private:
  static Tensor gather(const Context& context, const Tensor& x, const Tensor& row_token) {
    const Tensor rows = context.empty({row_token.size(0), x.size(1)}, x.dtype(), "dispatch.rows");
    kernels::gather_rows(context.stream, {.x = x, .row_token = row_token, .out = rows});
    return rows;
  }
};

}  // namespace

std::unique_ptr<Dispatcher> make_reference_dispatcher() { return std::make_unique<ReferenceDispatcher>(); }

}  // namespace conclave

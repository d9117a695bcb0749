#include "moe/dispatch/index.h"
#include "moe/dispatch/plans.h"

namespace conclave {
namespace {

class LocalPlan final : public DispatchPlan {
 public:
  LocalPlan(const Context& context, const Routing& routing)
      : rows_(sort_choices(context, routing.experts, routing.expert_count, routing.capacity)),
        probs_dtype_(routing.probs.dtype()) {
    offsets_ = rows_.offsets;
    row_weight_ = values_of_rows(context, routing.probs, rows_.row_slot);
  }

  Tensor to_experts(const Context& context, const Tensor& x, const Trip& trip) const override {
    if (trip.meanwhile) trip.meanwhile();
    return pick_rows(context, x, rows_.row_token, "dispatch.rows");
  }
  Tensor to_tokens(const Context& context, const Tensor& rows, const Trip& trip) const override {
    if (trip.meanwhile) trip.meanwhile();
    return sum_rows(context, rows, rows_.slot_row, "combine");
  }
  Tensor choices_to_tokens(const Context& context, const Tensor& values) const override {
    return values_of_choices(context, values, rows_.slot_row, probs_dtype_);
  }
  bool stays_here() const override { return true; }

 private:
  Permutation rows_;
  DType probs_dtype_;
};

}  // namespace

SharedPlan make_local_plan(const Context& context, const Routing& routing) {
  return std::make_shared<LocalPlan>(context, routing);
}

}  // namespace conclave

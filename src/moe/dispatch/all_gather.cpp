#include <numeric>

#include "kernels/dispatch_index.h"
#include "moe/dispatch/index.h"
#include "moe/dispatch/plans.h"

namespace conclave {
namespace {

class AllGatherPlan final : public DispatchPlan {
 public:
  AllGatherPlan(const Context& context, const ExpertGroup& group, const Routing& routing)
      : group_(group), probs_dtype_(routing.probs.dtype()) {
    const Tensor choices = group.gather(context, routing.experts, "dispatch.choices");
    const Tensor probs = group.gather(context, routing.probs, "dispatch.probs");
    const bool padded = routing.capacity > 0;
    kernels::MapChoicesArgs here{.experts = choices,
                                 .table = group.local_numbers(context),
                                 .source_rows = {},
                                 .out = context.empty(choices.shape(), DType::kI32, "dispatch.choices")};
    // Padding is per source: each has rows of its own at every expert.
    if (padded)
      here.source_rows =
          index_tensor(context, std::vector<int64_t>(static_cast<size_t>(group.ranks()), routing.experts.size(0)));
    kernels::map_choices(context.stream, here);
    const int64_t per_expert = padded ? group.ranks() : 1;
    rows_ = sort_choices(context, here.out, group.held() * per_expert, routing.capacity);
    if (padded) {
      offsets_ = offsets_of_capacity(context, per_expert * routing.capacity);
    } else {
      offsets_ = rows_.offsets;
      const Tensor end = offsets_.slice(group.held(), group.held() + 1);
      rows_.shorten(read_counts(context, end, [&](int64_t) { return declared_end(routing); }).front());
    }
    row_weight_ = values_of_rows(context, probs, rows_.row_slot);
  }

  Tensor to_experts(const Context& context, const Tensor& x, const Trip& trip) const override {
    if (trip.meanwhile) trip.meanwhile();
    return pick_rows(context, group_.gather(context, x, trip.name), rows_.row_token, "dispatch.rows");
  }
  Tensor to_tokens(const Context& context, const Tensor& rows, const Trip& trip) const override {
    if (trip.meanwhile) trip.meanwhile();
    return group_.sum_own(context, sum_rows(context, rows, rows_.slot_row, "combine"), trip.name);
  }
  Tensor choices_to_tokens(const Context& context, const Tensor& values) const override {
    const Tensor own = values_of_choices(context, values, rows_.slot_row, DType::kF32);
    return as_dtype(context, group_.sum_own(context, own, "combine.weights"), probs_dtype_);
  }

 private:
  ExpertGroup group_;
  DType probs_dtype_;
  Permutation rows_;  ///< of the tokens of all ranks

  Tensor offsets_of_capacity(const Context& context, int64_t rows) const {
    std::vector<int64_t> offsets;
    for (int64_t e = 0; e <= group_.held(); ++e) offsets.push_back(e * rows);
    return index_tensor(context, offsets);
  }
  int64_t declared_end(const Routing& routing) const {
    const std::shared_ptr<const DeclaredRouting> said = declared(routing);
    int64_t rows = 0;
    for (const int64_t rank : group_.world_ranks())
      for (int64_t e = 0; e < group_.held(); ++e) rows += said->rows(rank, group_.first() + e);
    return rows;
  }
};

}  // namespace

SharedPlan make_all_gather_plan(const Context& context, const ExpertGroup& group, const Routing& routing) {
  return std::make_shared<AllGatherPlan>(context, group, routing);
}

}  // namespace conclave

#include <numeric>

#include "kernels/dispatch_index.h"
#include "kernels/elementwise.h"
#include "moe/dispatch/index.h"
#include "moe/dispatch/plans.h"

namespace conclave {
namespace {

/// One process's semantics: the plan of all experts over the tokens of all ranks. This rank's experts are a run of its
/// rows; what they make is gathered again, so each token adds its rows in order of choice.
class ReferencePlan final : public DispatchPlan {
 public:
  ReferencePlan(const Context& context, const ExpertGroup& group, const Routing& routing)
      : group_(group), probs_dtype_(routing.probs.dtype()) {
    const int64_t sources = group.ranks(), per_expert = routing.capacity > 0 ? sources : 1;
    const Tensor choices = choices_of_all(context, routing);
    const Tensor probs = group.gather(context, routing.probs, "dispatch.probs");
    Permutation all = sort_choices(context, choices, group.experts() * per_expert, routing.capacity);
    const std::vector<int64_t> ends = read_counts(context, all.offsets, [&](int64_t i) {
      return routing.capacity > 0 ? i * routing.capacity : declared_end(routing, i);
    });
    std::vector<int64_t> offsets;
    for (int64_t e = 0; e <= group.held(); ++e)
      offsets.push_back(ends[static_cast<size_t>((group.first() + e) * per_expert)]);
    for (int64_t owner = 0; owner < group.expert().size; ++owner)
      pieces_.push_back(ends[static_cast<size_t>((owner + 1) * group.held() * per_expert)] -
                        ends[static_cast<size_t>(owner * group.held() * per_expert)]);
    const int64_t begin = offsets.front(), end = offsets.back();
    for (int64_t& offset : offsets) offset -= begin;
    offsets_ = index_tensor(context, offsets);
    row_token_ = all.row_token.slice(begin, end);
    row_weight_ = values_of_rows(context, probs, all.row_slot.slice(begin, end));
    const int64_t tokens = routing.experts.size(0);
    slot_row_ = all.slot_row.slice(group.source() * tokens, (group.source() + 1) * tokens);
  }

  Tensor to_experts(const Context& context, const Tensor& x, const Trip& trip) const override {
    if (trip.meanwhile) trip.meanwhile();
    return pick_rows(context, group_.gather(context, x, trip.name), row_token_, "dispatch.rows");
  }
  Tensor to_tokens(const Context& context, const Tensor& rows, const Trip& trip) const override {
    if (trip.meanwhile) trip.meanwhile();
    return sum_rows(context, rows_of_all(context, rows, trip.name), slot_row_, "combine");
  }
  Tensor choices_to_tokens(const Context& context, const Tensor& values) const override {
    const Tensor all = rows_of_all(context, values.view({values.size(0), 1}), "combine.weights");
    return values_of_choices(context, all.view({all.size(0)}), slot_row_, probs_dtype_);
  }

 private:
  ExpertGroup group_;
  DType probs_dtype_;
  std::vector<int64_t> pieces_;  ///< rows of each EP rank
  Tensor row_token_, slot_row_;

  Tensor choices_of_all(const Context& context, const Routing& routing) const {
    const Tensor choices = group_.gather(context, routing.experts, "dispatch.choices");
    if (routing.capacity == 0) return choices;
    // Padding is per source: each has rows of its own at every expert.
    std::vector<int32_t> itself(static_cast<size_t>(group_.experts()));
    std::iota(itself.begin(), itself.end(), 0);
    const std::vector<int64_t> source_rows(static_cast<size_t>(group_.ranks()), routing.experts.size(0));
    const Tensor out = context.empty(choices.shape(), DType::kI32, "dispatch.choices");
    kernels::map_choices(context.stream, {.experts = choices,
                                          .table = index_tensor(context, itself),
                                          .source_rows = index_tensor(context, source_rows),
                                          .out = out});
    return out;
  }

  int64_t declared_end(const Routing& routing, int64_t experts) const {
    const std::shared_ptr<const DeclaredRouting> said = declared(routing);
    int64_t rows = 0;
    for (const int64_t rank : group_.world_ranks())
      for (int64_t e = 0; e < experts; ++e) rows += said->rows(rank, e);
    return rows;
  }

  Tensor rows_of_all(const Context& context, const Tensor& rows, const char* name) const {
    Tensor sums = rows;
    Communicator& tensor_ranks = group_.tensor_ranks();
    if (tensor_ranks.size() > 1) {
      sums = context.empty(rows.shape(), rows.dtype(), "combine.summed");
      kernels::cast(context.stream, {.x = rows, .y = sums});
      tensor_ranks.all_reduce(context.stream, sums, ReduceOp::kSum, name);
    }
    Communicator& expert_ranks = group_.expert_ranks();
    if (expert_ranks.size() == 1) return sums;
    std::vector<int64_t> elements = pieces_;
    for (int64_t& piece : elements) piece *= rows.size(1);
    const int64_t total = std::accumulate(pieces_.begin(), pieces_.end(), int64_t{0});
    const Tensor all = context.empty({total, rows.size(1)}, rows.dtype(), "combine.gathered");
    expert_ranks.all_gather(context.stream, sums, elements, all, name);
    return all;
  }
};

}  // namespace

SharedPlan make_reference_plan(const Context& context, const ExpertGroup& group, const Routing& routing) {
  return std::make_shared<ReferencePlan>(context, group, routing);
}

}  // namespace conclave

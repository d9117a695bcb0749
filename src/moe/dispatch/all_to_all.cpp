#include <numeric>

#include "moe/dispatch/exchange.h"
#include "moe/dispatch/index.h"
#include "moe/dispatch/plans.h"

namespace conclave {
namespace {

class AllToAllPlan final : public DispatchPlan {
 public:
  AllToAllPlan(const Context& context, const ExpertGroup& group, const Routing& routing)
      : group_(group),
        probs_dtype_(routing.probs.dtype()),
        rows_(sort_choices(context, routing.experts, group.experts(), routing.capacity)) {
    count(context, routing);
    rows_.shorten(exchange_.sent());
    order_chunks_of_sources(context);
    const Tensor weights = values_of_rows(context, routing.probs, rows_.row_slot);
    row_weight_ = travel(context, weights.view({weights.size(0), 1}), {"dispatch.weights", {}});
    row_weight_ = row_weight_.view({row_weight_.size(0)});
  }

  Tensor to_experts(const Context& context, const Tensor& x, const Trip& trip) const override {
    return travel(context, pick_rows(context, x, rows_.row_token, "dispatch.sorted"), trip);
  }
  Tensor to_tokens(const Context& context, const Tensor& rows, const Trip& trip) const override {
    return sum_rows(context, travel_back(context, rows, trip), rows_.slot_row, "combine");
  }
  Tensor choices_to_tokens(const Context& context, const Tensor& values) const override {
    const Tensor own = travel_back(context, values.view({values.size(0), 1}), {"combine.weights", {}});
    return values_of_choices(context, own.view({own.size(0)}), rows_.slot_row, probs_dtype_);
  }

 private:
  ExpertGroup group_;
  DType probs_dtype_;
  Permutation rows_;               ///< of this rank's tokens, by expert
  std::vector<int64_t> counts_;    ///< [R,E] rows of each source for each expert
  RowExchange exchange_;           ///< EP
  std::vector<int64_t> gathered_;  ///< [ETP] rows that each ETP rank brings
  ChunkOrder order_;               ///< from [source][expert held] to [expert held][source]

  int64_t count_of(int64_t source, int64_t expert) const {
    return counts_[static_cast<size_t>(source * group_.experts() + expert)];
  }
  /// Rows of a source for the experts that an EP rank holds.
  int64_t rows_for(int64_t source, int64_t owner) const {
    int64_t rows = 0;
    for (int64_t e = 0; e < group_.held(); ++e) rows += count_of(source, owner * group_.held() + e);
    return rows;
  }

  void count(const Context& context, const Routing& routing) {
    const int64_t experts = group_.experts();
    if (routing.capacity > 0) {
      counts_.assign(static_cast<size_t>(group_.ranks() * experts), routing.capacity);
    } else {
      const Tensor all = group_.gather(context, rows_.counts.view({1, experts}), "dispatch.counts");
      counts_ = read_counts(context, all, [&, said = declared(routing), ranks = group_.world_ranks()](int64_t i) {
        return said->rows(ranks[static_cast<size_t>(i / experts)], i % experts);
      });
    }
    const int64_t owners = group_.expert().size;
    exchange_.ranks = &group_.expert_ranks();
    for (int64_t rank = 0; rank < owners; ++rank) {
      exchange_.send.push_back(rows_for(group_.source(), rank));
      exchange_.receive.push_back(rows_for(group_.tensor().rank * owners + rank, group_.expert().rank));
    }
    for (int64_t tensor = 0; tensor < group_.tensor().size; ++tensor) {
      gathered_.push_back(0);
      for (int64_t rank = 0; rank < owners; ++rank)
        gathered_.back() += rows_for(tensor * owners + rank, group_.expert().rank);
    }
  }

  /// Rows come as [source][expert held]; with one expert here that is their order already.
  void order_chunks_of_sources(const Context& context) {
    const int64_t held = group_.held();
    std::vector<int64_t> sizes, offsets{0};
    std::vector<int32_t> order;
    for (int64_t source = 0; source < group_.ranks(); ++source)
      for (int64_t e = 0; e < held; ++e) sizes.push_back(count_of(source, group_.first() + e));
    for (int64_t e = 0; e < held; ++e) {
      offsets.push_back(offsets.back());
      for (int64_t source = 0; source < group_.ranks(); ++source) {
        order.push_back(static_cast<int32_t>(source * held + e));
        offsets.back() += count_of(source, group_.first() + e);
      }
    }
    offsets_ = index_tensor(context, offsets);
    order_ = order_chunks(context, sizes, order);
  }

  std::vector<int64_t> gathered_elements(int64_t width) const {
    std::vector<int64_t> elements = gathered_;
    for (int64_t& count : elements) count *= width;
    return elements;
  }

  Tensor travel(const Context& context, const Tensor& sorted, const Trip& trip) const {
    Tensor rows = sorted;
    if (group_.expert().size > 1) {
      rows = exchange_rows(context, exchange_, rows, trip);
    } else if (trip.meanwhile) {
      trip.meanwhile();
    }
    if (group_.tensor().size > 1) {
      const int64_t width = rows.size(1);
      const int64_t total = std::accumulate(gathered_.begin(), gathered_.end(), int64_t{0});
      const Tensor all = context.empty({total, width}, rows.dtype(), "dispatch.gathered");
      group_.tensor_ranks().all_gather(context.stream, rows, gathered_elements(width), all, trip.name);
      rows = all;
    }
    return order_.changes() ? pick_rows(context, rows, order_.from, "dispatch.rows") : rows;
  }

  Tensor travel_back(const Context& context, const Tensor& by_expert, const Trip& trip) const {
    Tensor rows = order_.changes() ? pick_rows(context, by_expert, order_.to, "combine.by_source") : by_expert;
    if (group_.tensor().size > 1) {
      const int64_t width = rows.size(1);
      const Tensor own = context.empty({exchange_.received(), width}, rows.dtype(), "combine.summed");
      group_.tensor_ranks().reduce_scatter(context.stream, rows, gathered_elements(width), own, trip.name);
      rows = own;
    }
    if (group_.expert().size > 1) return exchange_rows(context, exchange_.back(), rows, trip);
    if (trip.meanwhile) trip.meanwhile();
    return rows;
  }
};

}  // namespace

SharedPlan make_all_to_all_plan(const Context& context, const ExpertGroup& group, const Routing& routing) {
  return std::make_shared<AllToAllPlan>(context, group, routing);
}

}  // namespace conclave

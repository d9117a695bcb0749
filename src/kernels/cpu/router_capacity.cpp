#include "kernels/router_capacity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(router_drop, RouterDropArgs)
CONCLAVE_KERNEL_BACKENDS(routing_map, RoutingMapArgs)
CONCLAVE_KERNEL_BACKENDS(pad_routing_map, PadRoutingMapArgs)
CONCLAVE_KERNEL_BACKENDS(count_choices, CountChoicesArgs)
CONCLAVE_KERNEL_BACKENDS(count_map, CountMapArgs)

namespace cpu {
namespace {

/// The slots t*K + k of each expert, in order of t: a stable counting sort into the workspace.
class SlotsByExpert {
 public:
  SlotsByExpert(const Tensor& chosen, int64_t experts, const Tensor& workspace)
      : begin_(workspace.data<int32_t>()), slots_(begin_ + experts + 1) {
    const int64_t count = chosen.element_count();
    const int32_t* expert = chosen.data<int32_t>();
    std::fill(begin_, begin_ + experts + 1, 0);
    for (int64_t i = 0; i < count; ++i)
      if (expert[i] >= 0) begin_[expert[i] + 1] += 1;
    for (int64_t e = 0; e < experts; ++e) begin_[e + 1] += begin_[e];
    for (int64_t i = 0; i < count; ++i)
      if (expert[i] >= 0) slots_[begin_[expert[i]]++] = static_cast<int32_t>(i);
    for (int64_t e = experts; e > 0; --e) begin_[e] = begin_[e - 1];
    begin_[0] = 0;
  }
  const int32_t* begin(int64_t e) const { return slots_ + begin_[e]; }
  const int32_t* end(int64_t e) const { return slots_ + begin_[e + 1]; }

 private:
  int32_t *begin_, *slots_;
};

/// One routed row of an expert's column.
template <typename Real>
struct Entry {
  Real prob;  // NaN counts as the largest
  int32_t slot;
  bool operator<(const Entry& other) const { return prob > other.prob || (prob == other.prob && slot < other.slot); }
};

/// Which entries of one column are among its `capacity` largest values, where every row that is not routed holds a
/// zero. Entries come in order of rows; among equals the earliest row wins.
template <typename Real>
class Column {
 public:
  void fill(const int32_t* begin, const int32_t* end, const Real* probs, int64_t topk) {
    positive_.clear();
    zero_.clear();
    negative_.clear();
    for (const int32_t* slot = begin; slot != end; ++slot) {
      const Real prob = std::isnan(probs[*slot]) ? std::numeric_limits<Real>::infinity() : probs[*slot];
      if (prob > 0) positive_.push_back({prob, *slot});
      if (prob < 0) negative_.push_back({prob, *slot});
      const auto others = static_cast<int64_t>(positive_.size() + negative_.size());
      if (prob == 0) zero_.push_back({*slot, *slot / topk - others});
    }
  }

  /// Calls drop(slot) for the entries that go.
  template <typename Drop>
  void drop_beyond(int64_t capacity, int64_t tokens, Drop drop) {
    const int64_t free = capacity - static_cast<int64_t>(positive_.size());
    const int64_t zeros = tokens - static_cast<int64_t>(positive_.size() + negative_.size());
    drop_smallest(positive_, capacity, drop);
    for (const Zero& zero : zero_)
      if (zero.zeros_before >= free) drop(zero.slot);
    drop_smallest(negative_, std::max<int64_t>(free - zeros, 0), drop);
  }

 private:
  struct Zero {
    int32_t slot;
    int64_t zeros_before;  // rows above it that hold a zero, routed or not
  };

  template <typename Drop>
  static void drop_smallest(std::vector<Entry<Real>>& entries, int64_t stay, Drop drop) {
    if (static_cast<int64_t>(entries.size()) <= stay) return;
    std::nth_element(entries.begin(), entries.begin() + stay, entries.end());
    for (auto entry = entries.begin() + stay; entry != entries.end(); ++entry) drop(entry->slot);
  }

  std::vector<Entry<Real>> positive_, negative_;
  std::vector<Zero> zero_;
};

template <typename Real>
void drop(const RouterDropArgs& args) {
  const int64_t tokens = args.chosen.size(0), topk = args.chosen.size(1);
  int32_t* kept = args.kept.data<int32_t>();
  Real* probs = args.probs.data<Real>();
  const SlotsByExpert slots(args.chosen, args.expert_count, args.workspace);
#pragma omp parallel if (args.chosen.element_count() >= 4096)
  {
    Column<Real> column;
#pragma omp for schedule(static)
    for (int64_t e = 0; e < args.expert_count; ++e) {
      const auto drop_slot = [&](int32_t slot) {
        kept[slot] = -1;
        probs[slot] = 0;
      };
      if (args.policy == DropPolicy::kProbs) {
        column.fill(slots.begin(e), slots.end(e), probs, topk);
        column.drop_beyond(args.capacity, tokens, drop_slot);
      } else {
        const int64_t count = slots.end(e) - slots.begin(e);
        std::for_each(slots.begin(e) + std::min(args.capacity, count), slots.end(e), drop_slot);
      }
    }
  }
}

template <typename Count>
void count_experts(const CountChoicesArgs& args) {
  const int64_t tokens = args.experts.size(0), topk = args.experts.size(1);
  const int32_t* experts = args.experts.data<int32_t>();
  const uint8_t* padding = args.padding.defined() ? args.padding.data<uint8_t>() : nullptr;
  Count* counts = args.counts.data<Count>();
  std::vector<int64_t> sums(static_cast<size_t>(args.counts.element_count()), 0);
  for (int64_t t = 0; t < tokens; ++t) {
    if (padding != nullptr && padding[t] != 0) continue;
    for (int64_t k = 0; k < topk; ++k)
      if (experts[t * topk + k] >= 0) sums[static_cast<size_t>(experts[t * topk + k])] += 1;
  }
  for (size_t e = 0; e < sums.size(); ++e) counts[e] += static_cast<Count>(sums[e]);
}

template <typename Count>
void count_columns(const CountMapArgs& args) {
  const int64_t tokens = args.map.size(0), experts = args.map.size(1);
  const uint8_t* map = args.map.data<uint8_t>();
  const uint8_t* padding = args.padding.defined() ? args.padding.data<uint8_t>() : nullptr;
  Count* counts = args.counts.data<Count>();
  std::vector<int64_t> sums(static_cast<size_t>(experts), 0);
  for (int64_t t = 0; t < tokens; ++t)
    if (padding == nullptr || padding[t] == 0)
      for (int64_t e = 0; e < experts; ++e) sums[static_cast<size_t>(e)] += map[t * experts + e];
  for (size_t e = 0; e < sums.size(); ++e) counts[e] += static_cast<Count>(sums[e]);
}

}  // namespace

void router_drop(const Stream&, const RouterDropArgs& args) {
  std::copy_n(args.chosen.data<int32_t>(), args.chosen.element_count(), args.kept.data<int32_t>());
  if (args.capacity > args.chosen.size(0)) return;
  if (args.probs.dtype() == DType::kF64) {
    drop<double>(args);
  } else {
    drop<float>(args);
  }
}

void routing_map(const Stream&, const RoutingMapArgs& args) {
  const int64_t tokens = args.experts.size(0), topk = args.experts.size(1), experts = args.map.size(1);
  const int32_t* chosen = args.experts.data<int32_t>();
  uint8_t* map = args.map.data<uint8_t>();
  std::fill(map, map + tokens * experts, uint8_t{0});
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t k = 0; k < topk; ++k)
      if (chosen[t * topk + k] >= 0) map[t * experts + chosen[t * topk + k]] = 1;
}

void pad_routing_map(const Stream&, const PadRoutingMapArgs& args) {
  const int64_t tokens = args.map.size(0), experts = args.map.size(1);
  uint8_t* map = args.map.data<uint8_t>();
  std::vector<int64_t> missing(static_cast<size_t>(experts), 0);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t e = 0; e < experts; ++e) missing[static_cast<size_t>(e)] += map[t * experts + e];
  for (int64_t& count : missing) {
    const int64_t goal = args.kind == MapPadding::kToCapacity ? args.amount : round_up(count, args.amount);
    count = goal - count;
  }
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t e = 0; e < experts; ++e) {
      uint8_t& cell = map[t * experts + e];
      if (cell != 0 || missing[static_cast<size_t>(e)] <= 0) continue;
      cell = 1;
      missing[static_cast<size_t>(e)] -= 1;
    }
}

void count_choices(const Stream&, const CountChoicesArgs& args) {
  if (args.counts.dtype() == DType::kF64) {
    count_experts<double>(args);
  } else {
    count_experts<float>(args);
  }
}

void count_map(const Stream&, const CountMapArgs& args) {
  if (args.counts.dtype() == DType::kF64) {
    count_columns<double>(args);
  } else {
    count_columns<float>(args);
  }
}

}  // namespace cpu
}  // namespace conclave::kernels

// Dropping, routing maps and counting, plainly, on dense matrices.
#pragma once

#include "kernels/ref/router_rows.h"
#include "kernels/router_capacity.h"

namespace conclave::kernels::ref {

template <typename Real>
struct RouterDrop {
  DropPolicy policy = DropPolicy::kProbs;
  int64_t capacity = 0, tokens = 0, topk = 0, expert_count = 0;
  const int32_t* chosen = nullptr;  // [T,K]
  int32_t* kept = nullptr;          // [T,K]
  Real* probs = nullptr;            // [T,K], in place
};

template <typename Real>
void router_drop(const RouterDrop<Real>& args) {
  const int64_t slots = args.tokens * args.topk;
  std::copy(args.chosen, args.chosen + slots, args.kept);
  if (args.capacity > args.tokens) return;
  for (int64_t e = 0; e < args.expert_count; ++e) {
    std::vector<Real> column(static_cast<size_t>(args.tokens), 0);
    for (int64_t i = 0; i < slots; ++i)
      if (args.chosen[i] == e)
        column[static_cast<size_t>(i / args.topk)] = args.policy == DropPolicy::kProbs ? args.probs[i] : 1;
    const std::vector<int32_t> stay = top(column, args.capacity);
    for (int64_t i = 0; i < slots; ++i)
      if (args.chosen[i] == e && std::find(stay.begin(), stay.end(), i / args.topk) == stay.end()) {
        args.kept[i] = -1;
        args.probs[i] = 0;
      }
  }
}

inline void routing_map(const int32_t* experts, int64_t tokens, int64_t topk, int64_t expert_count, uint8_t* map) {
  std::fill(map, map + tokens * expert_count, uint8_t{0});
  for (int64_t i = 0; i < tokens * topk; ++i)
    if (experts[i] >= 0) map[i / topk * expert_count + experts[i]] = 1;
}

inline void pad_routing_map(MapPadding kind, int64_t amount, int64_t tokens, int64_t expert_count, uint8_t* map) {
  for (int64_t e = 0; e < expert_count; ++e) {
    int64_t count = 0;
    for (int64_t t = 0; t < tokens; ++t) count += map[t * expert_count + e];
    const int64_t goal = kind == MapPadding::kToCapacity ? amount : round_up(count, amount);
    for (int64_t t = 0; t < tokens && count < goal; ++t) {
      uint8_t& cell = map[t * expert_count + e];
      if (cell == 0) count += cell = 1;
    }
  }
}

}  // namespace conclave::kernels::ref

// Limits on the rows of an expert: dropping beyond a capacity; dense routing maps and their padding; counting.
#pragma once

#include "kernels/router_rule.h"

namespace conclave::kernels {

enum class DropPolicy {
  kProbs,    ///< the rows with the largest probabilities stay; where they are equal, the earliest
  kPosition  ///< the earliest rows stay
};

/// C = ceil((T*K/E) * factor) in double, in this order.
int64_t expert_capacity(int64_t tokens, int64_t topk, int64_t experts, double factor);

/// kept [T,K] i32 = chosen [T,K] i32, or -1 where an expert has more than `capacity` rows and this one must go; probs
/// [T,K] (f32 or f64, in place) becomes 0 there. Nothing is renormalised. With kProbs a chosen row of probability 0
/// competes with the rows that are not routed at all, as in a column of the dense matrix.
struct RouterDropArgs {
  DropPolicy policy = DropPolicy::kProbs;
  int64_t capacity = 0;
  int64_t expert_count = 0;
  Tensor chosen, kept, probs;
  Tensor workspace;  ///< taken by the op
};
void router_drop(const Stream& stream, const RouterDropArgs& args);
Cost router_drop_cost(const RouterDropArgs& args);

/// map [T,E] u8: 1 at the experts [T,K] i32 of a token, 0 elsewhere.
struct RoutingMapArgs {
  Tensor experts, map;
};
void routing_map(const Stream& stream, const RoutingMapArgs& args);
Cost routing_map_cost(const RoutingMapArgs& args);

/// In each column of map [T,E] u8 (in place) the first zero rows become ones until its count is
///   kToCapacity: min(amount, T);  kToMultiple: the next multiple of `amount` (an empty column stays empty).
/// A column that runs out of rows ends with T ones.
enum class MapPadding { kToCapacity, kToMultiple };
struct PadRoutingMapArgs {
  MapPadding kind = MapPadding::kToMultiple;
  int64_t amount = 1;
  Tensor map;
};
void pad_routing_map(const Stream& stream, const PadRoutingMapArgs& args);
Cost pad_routing_map_cost(const PadRoutingMapArgs& args);

/// counts [E] (f32 or f64) += experts [T,K] i32 of rows that are not padding ([T] u8 = 1, optional). -1 counts nowhere.
struct CountChoicesArgs {
  Tensor experts, padding, counts;
};
void count_choices(const Stream& stream, const CountChoicesArgs& args);
Cost count_choices_cost(const CountChoicesArgs& args);

/// counts [E] (f32 or f64) += column sums of map [T,E] u8 over rows that are not padding.
struct CountMapArgs {
  Tensor map, padding, counts;
};
void count_map(const Stream& stream, const CountMapArgs& args);
Cost count_map_cost(const CountMapArgs& args);

}  // namespace conclave::kernels

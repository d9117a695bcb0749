// What part of the model's tensors a rank holds: its place on the axes that cut tensors or activations.
#pragma once

#include <algorithm>
#include <vector>

#include "layout/rank_layout.h"

namespace conclave {

/// Piece `rank` of `size` along one axis.
struct Slice {
  int64_t rank = 0, size = 1;
  bool is_whole() const { return size == 1; }
  /// Where this rank's equal share of `length` begins. `length` must divide by size.
  int64_t begin(int64_t length) const { return length / size * rank; }
  int64_t share(int64_t length) const { return length / size; }
  bool operator==(const Slice&) const = default;
};

/// How context-parallel ranks see each other's keys and values (--cp-comm-type).
enum class ContextExchange {
  kRing,           ///< p2p: keys and values go round
  kGather,         ///< all_gather: every rank has all keys and values for a while
  kHeads,          ///< a2a: every rank has all positions of some heads for a while
  kHeadsThenRing,  ///< a2a+p2p: heads inside the first level of a hierarchical group, a ring over the second
};

/// One rank's slices. `sequence_parallel`: between attention and MLP every TP rank holds its own S/TP positions.
struct ModelPart {
  Slice tensor;         ///< TP: heads, FFN width, vocabulary; with sequence parallelism the sequence between them
  Slice context;        ///< CP: the sequence
  Slice expert;         ///< EP: whole experts
  Slice expert_tensor;  ///< ETP: the width of every expert
  bool sequence_parallel = false;
  std::vector<ContextExchange> context_exchange = {ContextExchange::kRing};  ///< of all layers, or one for each

  ContextExchange exchange_of(int64_t layer) const {
    return context_exchange.size() == 1 ? context_exchange[0]
                                        : context_exchange[static_cast<size_t>(
                                              std::min(layer, static_cast<int64_t>(context_exchange.size()) - 1))];
  }
};

ModelPart model_part(const RankLayout& layout, int64_t rank, bool sequence_parallel);

}  // namespace conclave

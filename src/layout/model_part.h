// What part of the model's tensors a rank holds: its place on the axes that cut tensors or activations.
#pragma once

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

/// One rank's slices. `sequence_parallel`: between attention and MLP every TP rank holds its own S/TP positions.
struct ModelPart {
  Slice tensor;         ///< TP: heads, FFN width, vocabulary; with sequence parallelism the sequence between them
  Slice context;        ///< CP: the sequence
  Slice expert;         ///< EP: whole experts
  Slice expert_tensor;  ///< ETP: the width of every expert
  bool sequence_parallel = false;
};

ModelPart model_part(const RankLayout& layout, int64_t rank, bool sequence_parallel);

}  // namespace conclave

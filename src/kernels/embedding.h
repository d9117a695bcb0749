// Looking rows of a table up, and its gradient.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// The table holds rows [first, first + its rows) of a vocabulary of `total`; ids of other rows give zeros and have no
/// gradient here. total 0: the table is whole.
struct VocabularyShard {
  int64_t first = 0, total = 0;
};

/// y [S,B,H] = table[ids[b,s]]; ids [B,S] i32 in [0, V), checked on cpu (UserError naming the id); table [V,H] f32 or
/// bf16, y of the same dtype. With `accumulate` the rows are added to y (learned positions).
struct EmbeddingForwardArgs {
  Tensor ids, table, y;
  Accumulate accumulate = Accumulate::kOverwrite;
  VocabularyShard shard = {};
};
void embedding_forward(const Stream& stream, const EmbeddingForwardArgs& args);
Cost embedding_forward_cost(const EmbeddingForwardArgs& args);

/// dtable [V,H] f32 += rows of dy [S,B,H] by id; each row's terms are added in order of t = s*B + b.
struct EmbeddingBackwardArgs {
  Tensor ids, dy, dtable;
  VocabularyShard shard = {};
};
void embedding_backward(const Stream& stream, const EmbeddingBackwardArgs& args);
Cost embedding_backward_cost(const EmbeddingBackwardArgs& args);

}  // namespace conclave::kernels

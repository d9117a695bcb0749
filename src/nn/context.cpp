#include "nn/context.h"

#include <algorithm>

namespace conclave {

std::vector<SequencePiece> Context::pieces_outside() const {
  const ModelPart& part = groups->part();
  if (!part.sequence_parallel) return pieces_inside();
  const int64_t share = batch.sequence_length / part.tensor.size, first = share * part.tensor.rank;
  std::vector<SequencePiece> out;
  for (const SequencePiece& piece : pieces_inside()) {
    const int64_t begin = std::max(piece.begin, first), end = std::min(piece.begin + piece.size, first + share);
    if (begin < end) out.push_back({begin - first, end - begin, piece.position + begin - piece.begin});
  }
  return out;
}

}  // namespace conclave

// Flat buffers cut into pieces of a fixed size, worked on in parallel.
#pragma once

#include <algorithm>
#include <cstdint>

namespace conclave::kernels::cpu {

/// Elements that one thread takes at a time: a multiple of every vector length, and enough to pay for a second thread.
inline constexpr int64_t kPiece = 16384;

/// body(begin, end) for the pieces of [0, count).
template <typename Body>
void for_each_piece(int64_t count, Body body) {
  const int64_t pieces = (count + kPiece - 1) / kPiece;
#pragma omp parallel for schedule(static) if (pieces > 1)
  for (int64_t piece = 0; piece < pieces; ++piece) body(piece * kPiece, std::min(count, (piece + 1) * kPiece));
}

}  // namespace conclave::kernels::cpu

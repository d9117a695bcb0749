// Two matrices side by side, element by element.
#pragma once

#include <cstdint>

namespace conclave::kernels::ref {

/// Calls visit(element of x, its place in left or right) for every element of x [rows, a+b].
template <typename T, typename Visit>
void visit_columns(int64_t rows, int64_t a, int64_t b, T* x, T* left, T* right, Visit visit) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < a; ++c) visit(x[r * (a + b) + c], left[r * a + c]);
    for (int64_t c = 0; c < b; ++c) visit(x[r * (a + b) + a + c], right[r * b + c]);
  }
}

}  // namespace conclave::kernels::ref

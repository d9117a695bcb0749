// Where each element of the projections of latent attention lives among the heads.
#pragma once

#include <cstdint>

namespace conclave::kernels::ref {

struct LatentShape {
  int64_t batch = 0, heads = 0, length = 0, plain = 0, rotated = 0, value = 0;
};

/// Calls visit(element of fused, its place in q) for every element.
template <typename T, typename Visit>
void visit_latent_query(const LatentShape& a, T* fused, T* q, Visit visit) {
  const int64_t size = a.plain + a.rotated;
  for (int64_t s = 0; s < a.length; ++s) {
    for (int64_t b = 0; b < a.batch; ++b) {
      for (int64_t h = 0; h < a.heads; ++h) {
        T* head = q + ((b * a.heads + h) * a.length + s) * size;
        for (int64_t d = 0; d < size; ++d) visit(*fused++, head[d < a.plain ? a.rotated + d : d - a.plain]);
      }
    }
  }
}

/// Calls visit(element of up or shared, its place in k or v); those of shared come once for each head.
template <typename T, typename Visit>
void visit_latent_keys(const LatentShape& a, T* up, T* shared, T* k, T* v, Visit visit) {
  for (int64_t s = 0; s < a.length; ++s) {
    for (int64_t b = 0; b < a.batch; ++b) {
      for (int64_t h = 0; h < a.heads; ++h) {
        const int64_t row = (b * a.heads + h) * a.length + s;
        T* key = k + row * (a.rotated + a.plain);
        for (int64_t d = 0; d < a.rotated; ++d) visit(shared[(s * a.batch + b) * a.rotated + d], key[d]);
        for (int64_t d = 0; d < a.plain; ++d) visit(*up++, key[a.rotated + d]);
        for (int64_t d = 0; d < a.value; ++d) visit(*up++, v[row * a.value + d]);
      }
    }
  }
}

}  // namespace conclave::kernels::ref

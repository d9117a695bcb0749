// Where each element of the fused projection lives among the heads.
#pragma once

#include <cstdint>

namespace conclave::kernels::ref {

template <typename T>
struct Qkv {
  int64_t batch = 0, heads = 0, groups = 0, length = 0, size = 0;
  T* fused = nullptr;
  T* q = nullptr;
  T* k = nullptr;
  T* v = nullptr;
};

/// Calls visit(element of fused, its place in q, k or v) for every element.
template <typename T, typename Visit>
void visit_qkv(const Qkv<T>& a, Visit visit) {
  const int64_t per_group = a.heads / a.groups + 2;
  T* fused = a.fused;
  for (int64_t s = 0; s < a.length; ++s) {
    for (int64_t b = 0; b < a.batch; ++b) {
      for (int64_t slot = 0; slot < a.groups * per_group; ++slot) {
        const int64_t group = slot / per_group, within = slot % per_group;
        for (int64_t d = 0; d < a.size; ++d) {
          const auto place = [&](T* heads, int64_t count, int64_t head) -> T& {
            return heads[((b * count + head) * a.length + s) * a.size + d];
          };
          if (within < per_group - 2) {
            visit(*fused++, place(a.q, a.heads, group * (per_group - 2) + within));
          } else {
            visit(*fused++, place(within == per_group - 2 ? a.k : a.v, a.groups, group));
          }
        }
      }
    }
  }
}

template <typename T>
void split_qkv(const Qkv<T>& a) {
  visit_qkv(a, [](T& fused, T& head) { head = fused; });
}
template <typename T>
void merge_qkv(const Qkv<T>& a) {
  visit_qkv(a, [](T& fused, T& head) { fused = head; });
}

}  // namespace conclave::kernels::ref

#include <algorithm>

#include "kernels/cpu/vector.h"
#include "kernels/qkv_backend.h"

namespace conclave::kernels::cpu {
namespace {

// copy(row of fused, row of a head, bytes) for every head of every token. Heads are far apart in memory, so a thread
// takes a block of positions: each head then gets a contiguous piece.
template <typename Copy>
void copy_heads(const Tensor& fused, const Tensor& q, const Tensor& k, const Tensor& v, Copy copy) {
  const int64_t batch = q.size(0), heads = q.size(1), length = q.size(2), groups = k.size(1);
  const int64_t row = q.size(3) * dtype_size(q.dtype()), per_group = heads / groups;
  constexpr int64_t kBlock = 32;
#pragma omp parallel for collapse(2) schedule(static) if (fused.element_count() >= (1 << 14))
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t begin = 0; begin < length; begin += kBlock) {
      for (int64_t s = begin; s < std::min(length, begin + kBlock); ++s) {
        std::byte* from = fused.raw() + (s * batch + b) * (heads + 2 * groups) * row;
        const auto place = [&](const Tensor& of, int64_t count, int64_t head) {
          return of.raw() + ((b * count + head) * length + s) * row;
        };
        for (int64_t g = 0; g < groups; ++g) {
          for (int64_t h = 0; h < per_group; ++h, from += row) copy(from, place(q, heads, g * per_group + h), row);
          copy(from, place(k, groups, g), row);
          copy(from + row, place(v, groups, g), row);
          from += 2 * row;
        }
      }
    }
  }
}

}  // namespace

void split_qkv(const Stream&, const SplitQkvArgs& args) {
  copy_heads(args.fused, args.q, args.k, args.v,
             [](const std::byte* fused, std::byte* head, int64_t bytes) { copy_row(head, fused, bytes); });
}

void merge_qkv(const Stream&, const MergeQkvArgs& args) {
  copy_heads(args.fused, args.q, args.k, args.v,
             [](std::byte* fused, const std::byte* head, int64_t bytes) { copy_row(fused, head, bytes); });
}

}  // namespace conclave::kernels::cpu

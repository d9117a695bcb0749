#include "kernels/attention_merge_backend.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/vector.h"

namespace conclave::kernels::cpu {
namespace {

template <typename T>
void merge(const AttentionMergeArgs& args) {
  const int64_t batch = args.lse.size(0), heads = args.lse.size(1), sequence = args.lse.size(2);
  const int64_t width = args.out.size(2) / heads;
  float* lse = args.lse.data<float>();
  const float* other = args.part_lse.data<float>();
#pragma omp parallel for schedule(static) if (args.out.element_count() >= (1 << 14))
  for (int64_t row = 0; row < sequence * batch * heads; ++row) {
    const int64_t i = row / (batch * heads), at = row % (batch * heads) * sequence + i;
    const float most = std::max(lse[at], other[at]);
    if (most == -std::numeric_limits<float>::infinity()) continue;  // neither sees a key; NaN goes on
    const float mine = std::exp(lse[at] - most), theirs = std::exp(other[at] - most), sum = mine + theirs;
    lse[at] = most + std::log(sum);
    float* out = args.out.data<float>() + row * width;
    const T* part = args.part.data<T>() + row * width;
    for_each_vector(width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
      store_some(out + j, load_some(out + j, n) * (mine / sum) + load_some(part + j, n) * (theirs / sum), n);
    });
  }
}

}  // namespace

void attention_merge(const Stream&, const AttentionMergeArgs& args) {
  args.part.dtype() == DType::kBF16 ? merge<BF16>(args) : merge<float>(args);
}

}  // namespace conclave::kernels::cpu

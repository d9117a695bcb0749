#include "kernels/attention_merge_backend.h"
#include "kernels/cuda/reduce.cuh"

namespace conclave::kernels::cuda {
namespace {

struct Merge {
  float *out, *lse;
  const float* part_lse;
  int64_t rows, batch_heads, sequence, width;
};

// A warp per (position, sequence, head).
template <typename T>
__global__ void merge_kernel(Merge m, const T* part) {
  const int64_t row = int64_t{blockIdx.x} * (blockDim.x / kWarp) + threadIdx.x / kWarp;
  if (row >= m.rows) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t at = row % m.batch_heads * m.sequence + row / m.batch_heads;
  const float mine = m.lse[at], theirs = m.part_lse[at];
  const float most = mine < theirs ? theirs : mine;
  if (most == -INFINITY) return;  // neither sees a key; NaN goes on
  const float first = expf(mine - most), second = expf(theirs - most), sum = first + second;
  __syncwarp();
  if (lane == 0) m.lse[at] = most + logf(sum);
  for (int64_t j = lane; j < m.width; j += kWarp) {
    const int64_t i = row * m.width + j;
    m.out[i] = m.out[i] * (first / sum) + wide(part[i]) * (second / sum);
  }
}

}  // namespace

void attention_merge(const Stream& stream, const AttentionMergeArgs& args) {
  const int64_t batch = args.lse.size(0), heads = args.lse.size(1), sequence = args.lse.size(2);
  const int64_t rows = batch * heads * sequence;
  if (rows == 0) return;
  constexpr int kThreads = 256;
  const Merge m{pointer<float>(args.out),
                pointer<float>(args.lse),
                pointer<const float>(args.part_lse),
                rows,
                batch * heads,
                sequence,
                args.out.size(2) / heads};
  with_float(args.part.dtype(), [&](auto zero) {
    merge_kernel<<<static_cast<unsigned>(ceil_div(rows, kThreads / kWarp)), kThreads, 0, cuda_stream(stream)>>>(
        m, pointer<const decltype(zero)>(args.part));
  });
  check_launch("attention_merge");
}

}  // namespace conclave::kernels::cuda

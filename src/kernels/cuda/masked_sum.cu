#include "kernels/masked_sum.h"

#include "kernels/cuda/reduce.cuh"

namespace conclave::kernels::cuda {
namespace {

constexpr int kThreads = 1024;

__global__ void masked_sum_kernel(const float* values, const float* mask, int64_t count, double* out) {
  __shared__ double room[kThreads / kWarp];
  double sum = 0, weight = 0;
  for (int64_t t = threadIdx.x; t < count; t += kThreads) {
    const float m = mask[t];
    if (m == 0) continue;
    sum += static_cast<double>(values[t]) * static_cast<double>(m);
    weight += static_cast<double>(m);
  }
  sum = sum_block(sum, room);
  weight = sum_block(weight, room);
  if (threadIdx.x != 0) return;
  out[0] += sum;
  out[1] += weight;
}

}  // namespace

void masked_sum(const Stream& stream, const MaskedSumArgs& args) {
  masked_sum_kernel<<<1, kThreads, 0, cuda_stream(stream)>>>(pointer<const float>(args.values),
                                                             pointer<const float>(args.mask),
                                                             args.values.element_count(), pointer<double>(args.out));
  check_launch("masked_sum");
}

}  // namespace conclave::kernels::cuda

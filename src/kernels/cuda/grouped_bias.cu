#include "kernels/grouped_bias.h"

#include "kernels/cuda/groups.cuh"
#include "kernels/cuda/reduce.cuh"

namespace conclave::kernels::cuda {
namespace {

template <typename T>
__global__ void forward_kernel(T* y, const T* bias, const float* weight, const int64_t* offsets, int64_t experts,
                               int64_t width) {
  const int64_t row = blockIdx.x, expert = expert_of_row(offsets, experts, row);
  if (expert < 0) return;
  const float factor = weight != nullptr ? weight[row] : 1.0f;
  for (int64_t j = threadIdx.x; j < width; j += blockDim.x)
    y[row * width + j] = narrow<T>(wide(y[row * width + j]) + factor * wide(bias[expert * width + j]));
}

// 32 columns of one expert a block; lane row y takes every 32nd row.
template <typename T>
__global__ void dbias_kernel(const T* dy, const float* weight, const int64_t* offsets, int64_t width, float* dbias) {
  __shared__ float sums[32][33];
  const int64_t column = int64_t{blockIdx.x} * 32 + threadIdx.x, expert = blockIdx.y;
  float sum = 0;
  if (column < width) {
    for (int64_t p = offsets[expert] + threadIdx.y; p < offsets[expert + 1]; p += 32)
      sum += (weight != nullptr ? weight[p] : 1.0f) * wide(dy[p * width + column]);
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= width) return;
  float total = 0;
  for (int i = 0; i < 32; ++i) total += sums[i][threadIdx.x];
  dbias[expert * width + column] += total;
}

template <typename T>
__global__ void dweight_kernel(const T* dy, const T* bias, const int64_t* offsets, int64_t experts, int64_t width,
                               float* dweight) {
  __shared__ float room[8];
  const int64_t row = blockIdx.x, expert = expert_of_row(offsets, experts, row);
  if (expert < 0) return;
  float dot = 0;
  for (int64_t j = threadIdx.x; j < width; j += blockDim.x)
    dot += wide(dy[row * width + j]) * wide(bias[expert * width + j]);
  dot = sum_block(dot, room);
  if (threadIdx.x == 0) dweight[row] += dot;
}

}  // namespace

void grouped_bias_forward(const Stream& stream, const GroupedBiasForwardArgs& args) {
  const int64_t rows = args.y.size(0);
  if (rows == 0) return;
  with_float(args.y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    forward_kernel<<<static_cast<unsigned>(rows), 256, 0, cuda_stream(stream)>>>(
        pointer<T>(args.y), pointer<const T>(args.bias), pointer<const float>(args.row_weight),
        pointer<const int64_t>(args.offsets), args.bias.size(0), args.bias.size(1));
  });
  check_launch("grouped_bias_forward");
}

void grouped_bias_backward(const Stream& stream, const GroupedBiasBackwardArgs& args) {
  const int64_t rows = args.dy.size(0), experts = args.bias.size(0), width = args.bias.size(1);
  if (rows == 0 || width == 0 || experts == 0) return;
  with_float(args.dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *dy = pointer<const T>(args.dy), *bias = pointer<const T>(args.bias);
    const auto* offsets = pointer<const int64_t>(args.offsets);
    const dim3 grid(static_cast<unsigned>(ceil_div(width, 32)), static_cast<unsigned>(experts));
    dbias_kernel<<<grid, dim3(32, 32), 0, cuda_stream(stream)>>>(dy, pointer<const float>(args.row_weight), offsets,
                                                                 width, pointer<float>(args.dbias));
    if (args.row_weight)
      dweight_kernel<<<static_cast<unsigned>(rows), 256, 0, cuda_stream(stream)>>>(dy, bias, offsets, experts, width,
                                                                                   pointer<float>(args.drow_weight));
  });
  check_launch("grouped_bias_backward");
}

}  // namespace conclave::kernels::cuda

#include "kernels/cuda/reduce.cuh"
#include "kernels/norm_backend.h"

namespace conclave::kernels {
namespace cuda {
namespace {

constexpr int kThreads = 256;

/// Threads that share a row: part of a warp, a warp, or the whole block.
int group_of(int64_t width, int pack) {
  const int64_t packs = ceil_div(width, pack);
  if (packs > 4 * kWarp) return kThreads;
  int group = 4;
  while (group < kWarp && group < packs) group *= 2;
  return group;
}

/// The total over the threads of a row, given to each of them. All threads of the block call.
__device__ __forceinline__ float sum_group(float value, int group, float* room) {
  return group <= kWarp ? sum_lanes(value, group) : sum_block(value, room);
}

template <typename T>
struct ForwardRows {
  const T *x, *weight, *bias;
  T* y;
  float *mean, *rstd;
  int64_t rows, width;
  float epsilon, weight_offset;
  bool centred;
};

template <typename T, int V>
__global__ void __launch_bounds__(kThreads) forward_kernel(ForwardRows<T> n, int group) {
  __shared__ float room[kThreads / kWarp];
  const int lane = static_cast<int>(threadIdx.x) % group, groups = kThreads / group;
  const float share = n.width > 0 ? 1.0f / static_cast<float>(n.width) : 0.0f;
  for (int64_t first = int64_t{blockIdx.x} * groups; first < n.rows; first += int64_t{gridDim.x} * groups) {
    const int64_t row = first + threadIdx.x / group;
    const bool there = row < n.rows;
    const T* x = n.x + (there ? row : 0) * n.width;
    const int64_t begin = int64_t{lane} * V, step = int64_t{group} * V, end = there ? n.width : 0;
    float mean = 0;
    if (n.centred) {
      for (int64_t j = begin; j < end; j += step) {
        const auto in = load<V>(x + j);
        for (int i = 0; i < V; ++i) mean += wide(in.at[i]);
      }
      mean = sum_group(mean, group, room) * share;
    }
    float square = 0;
    for (int64_t j = begin; j < end; j += step) {
      const auto in = load<V>(x + j);
      for (int i = 0; i < V; ++i) square += (wide(in.at[i]) - mean) * (wide(in.at[i]) - mean);
    }
    const float rstd = 1.0f / sqrtf(sum_group(square, group, room) * share + n.epsilon);
    for (int64_t j = begin; j < end; j += step) {
      const auto in = load<V>(x + j), weight = load<V>(n.weight + j);
      Pack<T, V> bias{}, out;
      if (n.bias != nullptr) bias = load<V>(n.bias + j);
      for (int i = 0; i < V; ++i) {
        float value = (wide(in.at[i]) - mean) * rstd * (wide(weight.at[i]) + n.weight_offset);
        if (n.bias != nullptr) value += wide(bias.at[i]);
        out.at[i] = narrow<T>(value);
      }
      store(n.y + row * n.width + j, out);
    }
    if (there && lane == 0) {
      if (n.mean != nullptr) n.mean[row] = mean;
      if (n.rstd != nullptr) n.rstd[row] = rstd;
    }
  }
}

/// Keeps the compiler from carrying widened values of `pack` from one pass over it to the next: registers are scarcer
/// than conversions.
template <typename T>
__device__ __forceinline__ void keep_packed(Pack<T, kWide<T>>& pack) {
  auto* words = reinterpret_cast<uint32_t*>(&pack);
  asm volatile("" : "+r"(words[0]), "+r"(words[1]), "+r"(words[2]), "+r"(words[3]));
}

/// RMSNorm of rows that a warp (or `group` lanes of it) holds in registers: N packs a lane, read once.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads, N == 16  ? 1
                                            : N == 8 ? 2
                                                     : 3) rms_forward_kernel(ForwardRows<T> n, int group) {
  constexpr int V = kWide<T>;
  const int lane = static_cast<int>(threadIdx.x) % group, groups = kThreads / group;
  const float share = 1.0f / static_cast<float>(n.width);
  for (int64_t first = int64_t{blockIdx.x} * groups; first < n.rows; first += int64_t{gridDim.x} * groups) {
    const int64_t row = first + threadIdx.x / group;
    const bool there = row < n.rows;
    Pack<T, V> x[N];
    float square = 0;
#pragma unroll
    for (int p = 0; p < N; ++p) {
      const int64_t column = int64_t{lane + p * group} * V;
      x[p] = there && column < n.width ? load<V>(n.x + row * n.width + column) : Pack<T, V>{};
    }
#pragma unroll
    for (int p = 0; p < N; ++p)
      for (int i = 0; i < V; ++i) square += wide(x[p].at[i]) * wide(x[p].at[i]);
    const float rstd = 1.0f / sqrtf(sum_lanes(square, group) * share + n.epsilon);
    if (!there) continue;
#pragma unroll
    for (int p = 0; p < N; ++p) {
      const int64_t column = int64_t{lane + p * group} * V;
      if (column >= n.width) break;
      const auto weight = load<V>(n.weight + column);
      keep_packed<T>(x[p]);
      for (int i = 0; i < V; ++i)
        x[p].at[i] = narrow<T>(wide(x[p].at[i]) * rstd * (wide(weight.at[i]) + n.weight_offset));
      store(n.y + row * n.width + column, x[p]);
    }
    if (lane == 0 && n.rstd != nullptr) n.rstd[row] = rstd;
  }
}

template <typename T>
struct BackwardRows {
  const T *dy, *x, *weight, *residual;
  const float *mean, *rstd;
  T* dx;
  float *dweight, *dbias;  ///< partial sums [blocks, W], where wanted
  int64_t rows, width, block_rows;
  float weight_offset;
};

/// One block of rows a block. Each thread keeps the sums of its own columns in shared memory: [groups, 1 or 2, W].
template <typename T, int V>
__global__ void __launch_bounds__(kThreads) backward_kernel(BackwardRows<T> n, int group) {
  extern __shared__ float sums[];
  __shared__ float room[kThreads / kWarp];
  const int lane = static_cast<int>(threadIdx.x) % group, groups = kThreads / group;
  const int kinds = (n.dweight != nullptr ? 1 : 0) + (n.dbias != nullptr ? 1 : 0);
  float* my_weight = sums + int64_t{threadIdx.x / group} * kinds * n.width;
  float* my_bias = n.dweight != nullptr ? my_weight + n.width : my_weight;
  for (int64_t i = threadIdx.x; i < int64_t{groups} * kinds * n.width; i += kThreads) sums[i] = 0;
  __syncthreads();
  const bool centred = n.mean != nullptr;
  const float share = n.width > 0 ? 1.0f / static_cast<float>(n.width) : 0.0f;
  const int64_t block_first = int64_t{blockIdx.x} * n.block_rows, block_end = min(n.rows, block_first + n.block_rows);
  for (int64_t first = block_first; first < block_end; first += groups) {
    const int64_t row = first + threadIdx.x / group;
    const bool there = row < block_end;
    const int64_t at = (there ? row : 0) * n.width, begin = int64_t{lane} * V, step = int64_t{group} * V;
    const int64_t end = there ? n.width : 0;
    const float mean = centred && there ? n.mean[row] : 0.0f, rstd = there ? n.rstd[row] : 0.0f;
    float sum_g = 0, sum_gx = 0;
    for (int64_t j = begin; j < end; j += step) {
      const auto dy = load<V>(n.dy + at + j), x = load<V>(n.x + at + j), weight = load<V>(n.weight + j);
      for (int i = 0; i < V; ++i) {
        const float g = wide(dy.at[i]) * (wide(weight.at[i]) + n.weight_offset);
        sum_g += g;
        sum_gx += g * ((wide(x.at[i]) - mean) * rstd);
      }
    }
    sum_gx = sum_group(sum_gx, group, room) * share;
    sum_g = centred ? sum_group(sum_g, group, room) * share : 0.0f;
    for (int64_t j = begin; j < end; j += step) {
      const auto dy = load<V>(n.dy + at + j), x = load<V>(n.x + at + j), weight = load<V>(n.weight + j);
      Pack<T, V> past{}, out;
      if (n.residual != nullptr) past = load<V>(n.residual + at + j);
      for (int i = 0; i < V; ++i) {
        const float d = wide(dy.at[i]), normal = (wide(x.at[i]) - mean) * rstd;
        const float dx = rstd * (d * (wide(weight.at[i]) + n.weight_offset) - sum_g - normal * sum_gx);
        out.at[i] = narrow<T>(n.residual != nullptr ? wide(past.at[i]) + dx : dx);
        if (n.dweight != nullptr) my_weight[j + i] += d * normal;
        if (n.dbias != nullptr) my_bias[j + i] += d;
      }
      store(n.dx + at + j, out);
    }
  }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < kinds * n.width; i += kThreads) {
    float total = 0;
    for (int g = 0; g < groups; ++g) total += sums[int64_t{g} * kinds * n.width + i];
    const bool to_weight = n.dweight != nullptr && i < n.width;
    (to_weight ? n.dweight : n.dbias)[int64_t{blockIdx.x} * n.width + i % n.width] = total;
  }
}

/// Of a row, what one thread holds.
template <typename T, int N>
struct HeldRow {
  Pack<T, kWide<T>> dy[N], x[N], past[N];
  float rstd;
};

template <typename T, int N>
__device__ __forceinline__ HeldRow<T, N> held_row(const BackwardRows<T>& n, int64_t row, int64_t end, int64_t first,
                                                  int64_t step) {
  constexpr int V = kWide<T>;
  HeldRow<T, N> held{};
  if (row >= end) return held;
#pragma unroll
  for (int p = 0; p < N; ++p) {
    const int64_t column = first + p * step;
    if (column >= n.width) continue;
    held.dy[p] = load<V>(n.dy + row * n.width + column);
    held.x[p] = load<V>(n.x + row * n.width + column);
    if (n.residual != nullptr) held.past[p] = load<V>(n.residual + row * n.width + column);
  }
  held.rstd = n.rstd[row];
  return held;
}

/// RMSNorm of rows that a group of threads (up to the block) holds in registers: N packs a thread, read once, the next
/// row under way while this one is summed. Sums of the weight's gradient stay in registers up to the end of the block
/// of rows. Shared memory: [groups, W].
template <typename T, int N>
__global__ void __launch_bounds__(kThreads, N <= 2 ? 2 : 1) rms_backward_kernel(BackwardRows<T> n, int group) {
  constexpr int V = kWide<T>;
  extern __shared__ float sums[];
  __shared__ float room[2][kThreads / kWarp];
  const int lane = static_cast<int>(threadIdx.x) % group, groups = kThreads / group;
  const int64_t mine = threadIdx.x / group, begin = int64_t{lane} * V, step = int64_t{group} * V;
  const float share = 1.0f / static_cast<float>(n.width);
  Pack<T, V> weight[N];
  float total[N][V] = {};
#pragma unroll
  for (int p = 0; p < N; ++p)
    weight[p] = begin + p * step < n.width ? load<V>(n.weight + begin + p * step) : Pack<T, V>{};
  const int64_t block_first = int64_t{blockIdx.x} * n.block_rows, block_end = min(n.rows, block_first + n.block_rows);
  HeldRow<T, N> next = held_row<T, N>(n, block_first + mine, block_end, begin, step);
  int turn = 0;
  for (int64_t first = block_first; first < block_end; first += groups) {
    const int64_t row = first + mine;
    HeldRow<T, N> held = next;
    next = held_row<T, N>(n, row + groups, block_end, begin, step);
    float dot = 0;
#pragma unroll
    for (int p = 0; p < N; ++p)
      for (int i = 0; i < V; ++i)
        dot += wide(held.dy[p].at[i]) * (wide(weight[p].at[i]) + n.weight_offset) * (wide(held.x[p].at[i]) * held.rstd);
    dot = sum_lanes(dot, min(group, kWarp));
    if (group > kWarp) {
      // Two rooms in turn: one barrier a row.
      if (threadIdx.x % kWarp == 0) room[turn][threadIdx.x / kWarp] = dot;
      __syncthreads();
      dot = 0;
      for (int w = 0; w < kThreads / kWarp; ++w) dot += room[turn][w];
      turn ^= 1;
    }
    dot *= share;
    if (row >= block_end) continue;
#pragma unroll
    for (int p = 0; p < N; ++p) {
      if (begin + p * step >= n.width) break;
      Pack<T, V> out;
      keep_packed<T>(held.dy[p]);
      keep_packed<T>(held.x[p]);
      for (int i = 0; i < V; ++i) {
        const float d = wide(held.dy[p].at[i]), normal = wide(held.x[p].at[i]) * held.rstd;
        const float dx = held.rstd * (d * (wide(weight[p].at[i]) + n.weight_offset) - normal * dot);
        out.at[i] = narrow<T>(n.residual != nullptr ? wide(held.past[p].at[i]) + dx : dx);
        total[p][i] += d * normal;
      }
      store(n.dx + row * n.width + begin + p * step, out);
    }
  }
  if (n.dweight == nullptr) return;
#pragma unroll
  for (int p = 0; p < N; ++p)
    for (int i = 0; i < V && begin + p * step < n.width; ++i) sums[mine * n.width + begin + p * step + i] = total[p][i];
  __syncthreads();
  for (int64_t i = threadIdx.x; i < n.width; i += kThreads) {
    float sum = 0;
    for (int g = 0; g < groups; ++g) sum += sums[int64_t{g} * n.width + i];
    n.dweight[int64_t{blockIdx.x} * n.width + i] = sum;
  }
}

// 32 columns a block; lane row y adds blocks y, y + 8, ...
__global__ void add_partials_kernel(const float* partials, int64_t blocks, int64_t width, float* out) {
  __shared__ float sums[8][33];
  const int64_t column = int64_t{blockIdx.x} * 32 + threadIdx.x;
  float sum = 0;
  if (column < width)
    for (int64_t b = threadIdx.y; b < blocks; b += 8) sum += partials[b * width + column];
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= width) return;
  float total = 0;
  for (int i = 0; i < 8; ++i) total += sums[i][threadIdx.x];
  out[column] += total;
}

template <typename T, int V>
void forward(const Stream& stream, const NormForwardArgs& args) {
  const int64_t rows = args.x.size(0), width = args.x.size(1);
  const ForwardRows<T> n{pointer<const T>(args.x),
                         pointer<const T>(args.weight),
                         pointer<const T>(args.bias),
                         pointer<T>(args.y),
                         pointer<float>(args.mean),
                         pointer<float>(args.rstd),
                         rows,
                         width,
                         static_cast<float>(args.epsilon),
                         args.weight_offset,
                         args.kind == NormKind::kLayer};
  const auto launch = [&](auto* kernel, int group) {
    kernel<<<grid_for(rows * group, kThreads), kThreads, 0, cuda_stream(stream)>>>(n, group);
    check_launch("norm_forward");
  };
  if constexpr (V > 1) {
    const int64_t packs = width / V;
    if (!n.centred && n.bias == nullptr && packs <= 16 * kWarp) {
      if (packs <= kWarp) return launch(rms_forward_kernel<T, 1>, group_of(width, V));
      if (packs <= 2 * kWarp) return launch(rms_forward_kernel<T, 2>, kWarp);
      if (packs <= 4 * kWarp) return launch(rms_forward_kernel<T, 4>, kWarp);
      if (packs <= 8 * kWarp) return launch(rms_forward_kernel<T, 8>, kWarp);
      return launch(rms_forward_kernel<T, 16>, kWarp);
    }
  }
  launch(forward_kernel<T, V>, group_of(width, V));
}

template <typename T>
using BackwardKernel = void (*)(BackwardRows<T>, int);

/// Rows that fit into the registers of a group, or the general kernel.
template <typename T, int V>
BackwardKernel<T> backward_form(const BackwardRows<T>& n, int group) {
  if constexpr (V > 1) {
    const int64_t packs = ceil_div(n.width, int64_t{V} * group);
    if (n.mean == nullptr && n.dbias == nullptr && packs <= 4)
      return packs == 1   ? rms_backward_kernel<T, 1>
             : packs == 2 ? rms_backward_kernel<T, 2>
                          : rms_backward_kernel<T, 4>;
  }
  return backward_kernel<T, V>;
}

template <typename T, int V>
void backward(const Stream& stream, const NormBackwardWork& work) {
  const NormBackwardArgs& args = work.args;
  const int64_t rows = args.x.size(0), width = args.x.size(1);
  const int64_t sums = work.partials.defined() ? work.partials.size(0) : 0;
  const int group = group_of(width, V);
  const int64_t blocks = sums > 0 ? work.partials.size(1) : grid_for(rows * group, kThreads);
  float* partials = pointer<float>(work.partials);
  BackwardRows<T> n{pointer<const T>(args.dy),
                    pointer<const T>(args.x),
                    pointer<const T>(args.weight),
                    pointer<const T>(args.residual),
                    args.kind == NormKind::kLayer ? pointer<const float>(args.mean) : nullptr,
                    pointer<const float>(args.rstd),
                    pointer<T>(args.dx),
                    args.dweight ? partials : nullptr,
                    args.dbias ? partials + (sums - 1) * blocks * width : nullptr,
                    rows,
                    width,
                    sums > 0 ? norm_gradient_block_rows(rows) : ceil_div(rows, blocks),
                    args.weight_offset};
  const auto shared = static_cast<size_t>(kThreads / group * sums * width) * sizeof(float);
  if (rows > 0) {
    CONCLAVE_CHECK(shared <= (size_t{200} << 10), "[kernels/norm_backward] rows of {} are too wide on cuda", width);
    const BackwardKernel<T> kernel = backward_form<T, V>(n, group);
    allow_shared(kernel, shared);
    kernel<<<static_cast<unsigned>(blocks), kThreads, shared, cuda_stream(stream)>>>(n, group);
    check_launch("norm_backward");
  }
  const auto add = [&](const float* from, const Tensor& to) {
    add_partials_kernel<<<static_cast<unsigned>(ceil_div(width, 32)), dim3(32, 8), 0, cuda_stream(stream)>>>(
        from, rows > 0 ? blocks : 0, width, pointer<float>(to));
    check_launch("norm_backward");
  };
  if (args.dweight && width > 0) add(n.dweight, args.dweight);
  if (args.dbias && width > 0) add(n.dbias, args.dbias);
}

}  // namespace

void norm_forward(const Stream& stream, const NormForwardArgs& args) {
  if (args.x.element_count() == 0 && !args.rstd) return;
  if (args.x.size(0) == 0) return;
  with_float(args.x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    args.x.size(1) % kWide<T> == 0 && aligned(16, args.x, args.weight, args.bias, args.y)
        ? forward<T, kWide<T>>(stream, args)
        : forward<T, 1>(stream, args);
  });
}

void norm_backward(const Stream& stream, const NormBackwardWork& work) {
  const NormBackwardArgs& args = work.args;
  with_float(args.x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    args.x.size(1) % kWide<T> == 0 && aligned(16, args.x, args.dy, args.weight, args.residual, args.dx)
        ? backward<T, kWide<T>>(stream, work)
        : backward<T, 1>(stream, work);
  });
}

}  // namespace cuda
}  // namespace conclave::kernels

#include "kernels/cuda/random.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/elementwise_backend.h"

namespace conclave::kernels::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
void fill_as(const Stream& stream, const FillArgs& args, T value) {
  T* x = pointer<T>(args.x);
  for_each(stream, "fill", args.x.element_count(), [=] __device__(auto i) { x[i] = value; });
}

template <typename From, typename To, int V>
void cast_by(const Stream& stream, const CastArgs& args) {
  const From* x = pointer<const From>(args.x);
  To* y = pointer<To>(args.y);
  const int64_t count = args.x.element_count(), whole = count / V;
  for_each(stream, "cast", whole, [=] __device__(auto i) {
    const auto in = load<V>(x + int64_t{i} * V);
    Pack<To, V> out;
    for (int j = 0; j < V; ++j) out.at[j] = narrow<To>(wide(in.at[j]));
    store(y + int64_t{i} * V, out);
  });
  for_each(stream, "cast", count - whole * V,
           [=] __device__(auto i) { y[whole * V + i] = narrow<To>(wide(x[whole * V + i])); });
}

template <typename From, typename To>
void cast_to(const Stream& stream, const CastArgs& args) {
  constexpr int kFit = kWide<From> < kWide<To> ? kWide<From> : kWide<To>;  // neither side above 16 bytes
  aligned(16, args.x, args.y) ? cast_by<From, To, kFit>(stream, args) : cast_by<From, To, 1>(stream, args);
}

template <typename From>
void cast_from(const Stream& stream, const CastArgs& args) {
  switch (args.y.dtype()) {
    case DType::kF32:
      return cast_to<From, float>(stream, args);
    case DType::kBF16:
      return cast_to<From, bf16>(stream, args);
    default:
      return cast_to<From, double>(stream, args);
  }
}

template <typename T, int V>
void scale_by(const Stream& stream, const ScaleArgs& args) {
  using Number = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const T* x = pointer<const T>(args.x);
  T* y = pointer<T>(args.y);
  const float* device_scale = pointer<const float>(args.device_scale);
  const auto given = static_cast<Number>(args.scale);
  const bool add = args.accumulate == Accumulate::kAdd;
  const int64_t count = args.x.element_count(), whole = count / V;
  for_each(stream, "scale", whole + count % V, [=] __device__(auto i) {
    const Number factor = device_scale != nullptr ? given * static_cast<Number>(*device_scale) : given;
    if (i < whole) {
      const int64_t at = int64_t{i} * V;
      const auto in = load<V>(x + at);
      Pack<T, V> out;
      if (add) out = load<V>(y + at);
      for (int j = 0; j < V; ++j)
        out.at[j] = narrow<T>(add ? wide(out.at[j]) + factor * wide(in.at[j]) : factor * wide(in.at[j]));
      store(y + at, out);
    } else {
      const int64_t at = whole * V + (i - whole);
      y[at] = narrow<T>(add ? wide(y[at]) + factor * wide(x[at]) : factor * wide(x[at]));
    }
  });
}

template <typename T>
void scale_as(const Stream& stream, const ScaleArgs& args) {
  aligned(16, args.x, args.y) ? scale_by<T, kWide<T>>(stream, args) : scale_by<T, 1>(stream, args);
}

// 32 columns a block; lane row y takes rows y, y + 32, ...; then the lane rows are added in order.
template <typename T>
__global__ void column_sum_kernel(const T* x, float* out, int64_t rows, int64_t columns) {
  __shared__ float sums[32][33];
  const int64_t column = int64_t{blockIdx.x} * 32 + threadIdx.x;
  float sum = 0;
  if (column < columns)
    for (int64_t r = threadIdx.y; r < rows; r += 32) sum += wide(x[r * columns + column]);
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
  float total = 0;
  for (int i = 0; i < 32; ++i) total += sums[i][threadIdx.x];
  out[column] += total;
}

template <typename T>
void column_sum_as(const Stream& stream, const ColumnSumArgs& args) {
  const int64_t rows = args.x.size(0), columns = args.x.size(1);
  if (columns == 0) return;
  column_sum_kernel<<<static_cast<unsigned>(ceil_div(columns, 32)), dim3(32, 32), 0, cuda_stream(stream)>>>(
      pointer<const T>(args.x), pointer<float>(args.out), rows, columns);
  check_launch("column_sum");
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <typename T, int V>
void row_gate_by(const Stream& stream, const RowGateForwardArgs& args) {
  const int64_t packs = args.value.size(1) / V;
  const T* value = pointer<const T>(args.value);
  const float* gate = pointer<const float>(args.gate);
  T* y = pointer<T>(args.y);
  for_each(stream, "row_gate_forward", args.value.size(0) * packs, [=] __device__(auto i) {
    const float s = sigmoid(gate[i / static_cast<decltype(i)>(packs)]);
    auto out = load<V>(value + int64_t{i} * V);
    for (int j = 0; j < V; ++j) out.at[j] = narrow<T>(wide(out.at[j]) * s);
    store(y + int64_t{i} * V, out);
  });
}

template <typename T>
__global__ void row_gate_backward_kernel(const T* dy, const T* value, const float* gate, T* dvalue, float* dgate,
                                         int64_t width) {
  __shared__ float room[kThreads / kWarp];
  const int64_t first = int64_t{blockIdx.x} * width;
  const float s = sigmoid(gate[blockIdx.x]);
  float dot = 0;
  for (int64_t j = threadIdx.x; j < width; j += kThreads) {
    const float d = wide(dy[first + j]);
    dot += d * wide(value[first + j]);
    dvalue[first + j] = narrow<T>(d * s);
  }
  dot = sum_block(dot, room);
  if (threadIdx.x == 0) dgate[blockIdx.x] = dot * s * (1 - s);
}

/// Where a box of a shard stands in the whole tensor.
struct BoxPlace {
  int rank = 0;
  int64_t size[Shape::kMaxRank] = {}, begin[Shape::kMaxRank] = {}, stride[Shape::kMaxRank] = {};

  __device__ uint64_t global_index(uint64_t local) const {
    uint64_t index = 0;
    for (int axis = rank - 1; axis >= 0; --axis) {
      const auto extent = static_cast<uint64_t>(size[axis]);
      index += (local % extent + static_cast<uint64_t>(begin[axis])) * static_cast<uint64_t>(stride[axis]);
      local /= extent;
    }
    return index;
  }
};

BoxPlace place_of(const Box& box, const std::vector<int64_t>& global_shape) {
  BoxPlace place;
  place.rank = static_cast<int>(global_shape.size());
  CONCLAVE_CHECK(place.rank <= Shape::kMaxRank, "a shard of {} axes", place.rank);
  int64_t stride = 1;
  for (size_t axis = global_shape.size(); axis-- > 0;) {
    place.size[axis] = box.size[axis];
    place.begin[axis] = box.begin[axis];
    place.stride[axis] = stride;
    stride *= global_shape[axis];
  }
  return place;
}

template <typename T, int V>
void jitter_by(const Stream& stream, const JitterArgs& args) {
  const int64_t length = args.x.size(0), batch = args.x.size(1), width = args.x.size(2), packs = width / V;
  const T* x = pointer<const T>(args.x);
  T* y = pointer<T>(args.y);
  const float low = 1 - args.epsilon, span = 2 * args.epsilon;
  const int64_t offset = args.sequence_offset;
  for (const SequenceKeys& keys : sequence_keys(args.streams)) {
    for_each(stream, "jitter", length * keys.count * packs, [=] __device__(auto i) {
      using Index = decltype(i);
      const Index row = i / static_cast<Index>(packs), column = (i - row * static_cast<Index>(packs)) * V;
      const int64_t s = row / static_cast<Index>(keys.count), b = row % static_cast<Index>(keys.count);
      const int64_t at = (s * batch + keys.first + b) * width + column;
      uint32_t bits[V];
      random_bits(keys.at[b], static_cast<uint64_t>((s + offset) * width + column), bits);
      auto out = load<V>(x + at);
      for (int j = 0; j < V; ++j) out.at[j] = narrow<T>(wide(out.at[j]) * (low + span * uniform_of(bits[j])));
      store(y + at, out);
    });
  }
}

// Bits of |x|: they order as whole numbers do, and a NaN is above infinity.
__device__ __forceinline__ uint32_t magnitude_bits(float x) { return __float_as_uint(x) & 0x7fffffffu; }

template <typename T>
__global__ void count_nonfinite_kernel(const T* x, int64_t count, unsigned long long* found) {
  __shared__ unsigned long long room[kThreads / kWarp];
  unsigned long long mine = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += int64_t{gridDim.x} * kThreads)
    mine += magnitude_bits(wide(x[i])) >= 0x7f800000u ? 1 : 0;
  mine = sum_block(mine, room);
  if (threadIdx.x == 0 && mine > 0) atomicAdd(found, mine);
}

template <typename T>
__global__ void abs_max_kernel(const T* x, int64_t count, uint32_t* most) {
  __shared__ uint32_t room[kThreads / kWarp];
  uint32_t mine = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += int64_t{gridDim.x} * kThreads)
    mine = max(mine, magnitude_bits(wide(x[i])));
  mine = reduce_block(mine, room, [](uint32_t a, uint32_t b) { return max(a, b); });
  if (threadIdx.x == 0) atomicMax(most, mine);
}

}  // namespace

void fill(const Stream& stream, const FillArgs& args) {
  if (args.value == 0 && args.x.bytes() > 0) {
    CONCLAVE_CUDA(cudaMemsetAsync(args.x.raw(), 0, static_cast<size_t>(args.x.bytes()), cuda_stream(stream)));
    return;
  }
  switch (args.x.dtype()) {
    case DType::kF32:
      return fill_as(stream, args, static_cast<float>(args.value));
    case DType::kBF16:
      return fill_as(stream, args, __float2bfloat16_rn(static_cast<float>(args.value)));
    case DType::kF64:
      return fill_as(stream, args, args.value);
    case DType::kI32:
      return fill_as(stream, args, static_cast<int32_t>(args.value));
    case DType::kI64:
      return fill_as(stream, args, static_cast<int64_t>(args.value));
    default:
      return fill_as(stream, args, static_cast<uint8_t>(args.value));
  }
}

void cast(const Stream& stream, const CastArgs& args) {
  if (args.x.dtype() == args.y.dtype()) {
    if (args.x.bytes() == 0 || args.x.raw() == args.y.raw()) return;
    CONCLAVE_CUDA(cudaMemcpyAsync(args.y.raw(), args.x.raw(), static_cast<size_t>(args.x.bytes()),
                                  cudaMemcpyDeviceToDevice, cuda_stream(stream)));
    return;
  }
  switch (args.x.dtype()) {
    case DType::kF32:
      return cast_from<float>(stream, args);
    case DType::kBF16:
      return cast_from<bf16>(stream, args);
    default:
      return cast_from<double>(stream, args);
  }
}

void scale(const Stream& stream, const ScaleArgs& args) {
  switch (args.x.dtype()) {
    case DType::kF32:
      return scale_as<float>(stream, args);
    case DType::kBF16:
      return scale_as<bf16>(stream, args);
    default:
      return scale_as<double>(stream, args);
  }
}

void column_sum(const Stream& stream, const ColumnSumArgs& args) {
  with_float(args.x.dtype(), [&](auto zero) { column_sum_as<decltype(zero)>(stream, args); });
}

void row_gate_forward(const Stream& stream, const RowGateForwardArgs& args) {
  with_float(args.value.dtype(), [&](auto zero) {
    using T = decltype(zero);
    args.value.size(1) % kWide<T> == 0 && aligned(16, args.value, args.y) ? row_gate_by<T, kWide<T>>(stream, args)
                                                                          : row_gate_by<T, 1>(stream, args);
  });
}

void row_gate_backward(const Stream& stream, const RowGateBackwardArgs& args) {
  const int64_t rows = args.value.size(0);
  if (rows == 0) return;
  with_float(args.value.dtype(), [&](auto zero) {
    using T = decltype(zero);
    row_gate_backward_kernel<<<static_cast<unsigned>(rows), kThreads, 0, cuda_stream(stream)>>>(
        pointer<const T>(args.dy), pointer<const T>(args.value), pointer<const float>(args.gate),
        pointer<T>(args.dvalue), pointer<float>(args.dgate), args.value.size(1));
  });
  check_launch("row_gate_backward");
}

void jitter(const Stream& stream, const JitterArgs& args) {
  with_float(args.x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    args.x.size(2) % kWide<T> == 0 && aligned(16, args.x, args.y) ? jitter_by<T, kWide<T>>(stream, args)
                                                                  : jitter_by<T, 1>(stream, args);
  });
}

void random_fill(const Stream& stream, const RandomFillArgs& args) {
  float* x = pointer<float>(args.x);
  const StreamKey key = key_of(args.source);
  const double a = args.a, factor = args.kind == RandomKind::kNormal ? args.b : args.b - args.a;
  const bool normal = args.kind == RandomKind::kNormal;
  for (const Box& box : args.shard.boxes) {
    const BoxPlace place = place_of(box, args.shard.global_shape);
    const int64_t count = box.element_count();
    for_each(stream, "random_fill", count, [=] __device__(auto i) {
      const uint64_t element = place.global_index(i);
      const float value = normal ? normal_of(key, element) : uniform_of(random_bits(key, element));
      x[i] = static_cast<float>(a + factor * static_cast<double>(value));
    });
    x += count;
  }
}

void count_nonfinite(const Stream& stream, const CountNonFiniteArgs& args) {
  const int64_t count = args.x.element_count();
  auto* found = reinterpret_cast<unsigned long long*>(args.count.data<int64_t>());
  CONCLAVE_CUDA(cudaMemsetAsync(found, 0, sizeof *found, cuda_stream(stream)));
  with_float(args.x.dtype(), [&](auto zero) {
    count_nonfinite_kernel<<<grid_for(count, kThreads), kThreads, 0, cuda_stream(stream)>>>(
        pointer<const decltype(zero)>(args.x), count, found);
  });
  check_launch("count_nonfinite");
}

void abs_max(const Stream& stream, const AbsMaxArgs& args) {
  const int64_t count = args.x.element_count();
  auto* most = reinterpret_cast<uint32_t*>(args.out.data<float>());
  CONCLAVE_CUDA(cudaMemsetAsync(most, 0, sizeof *most, cuda_stream(stream)));
  with_float(args.x.dtype(), [&](auto zero) {
    abs_max_kernel<<<grid_for(count, kThreads), kThreads, 0, cuda_stream(stream)>>>(
        pointer<const decltype(zero)>(args.x), count, most);
  });
  check_launch("abs_max");
}

}  // namespace conclave::kernels::cuda

#include "kernels/ordered_reduce.h"

#include "kernels/cuda/values.cuh"

namespace conclave::kernels {
namespace {

using namespace cuda;

// What a sum is made in: integers without a sign, so that they may run over.
template <typename T>
struct SumOf {
  using type = T;
};
template <>
struct SumOf<bf16> {
  using type = float;
};
template <>
struct SumOf<int32_t> {
  using type = uint32_t;
};
template <>
struct SumOf<int64_t> {
  using type = uint64_t;
};

template <typename A, typename T>
__device__ A widened(T value) {
  if constexpr (std::is_same_v<T, bf16>) {
    return wide(value);
  } else {
    return static_cast<A>(value);
  }
}

template <ReduceRule rule, typename T, typename A>
__device__ A joined(A sum, A value) {
  if constexpr (rule == ReduceRule::kSum) {
    return static_cast<A>(sum + value);
  } else if constexpr (std::is_floating_point_v<A>) {
    const bool takes = (rule == ReduceRule::kMax ? value > sum : value < sum) || value != value;
    return takes && sum == sum ? value : sum;
  } else {
    const T a = static_cast<T>(sum), b = static_cast<T>(value);
    return static_cast<A>(rule == ReduceRule::kMax ? (a < b ? b : a) : (b < a ? b : a));
  }
}

template <ReduceRule rule, typename T, int V>
void reduce_by(const Stream& stream, const OrderedReduceOnGpuArgs& args) {
  using A = typename SumOf<T>::type;
  const auto* pieces = reinterpret_cast<const T*>(args.pieces);
  T* out = reinterpret_cast<T*>(args.out);
  const int64_t stride = args.piece_bytes / static_cast<int64_t>(sizeof(T)), count = args.piece_count;
  const int64_t whole = args.count / V, rest = args.count % V;
  for_each(stream, "ordered_reduce", whole + rest, [=] __device__(auto index) {
    const auto i = static_cast<int64_t>(index);
    if (i >= whole) {
      const int64_t at = whole * V + i - whole;
      A sum = widened<A>(pieces[at]);
      for (int64_t p = 1; p < count; ++p) sum = joined<rule, T>(sum, widened<A>(pieces[p * stride + at]));
      out[at] = narrow<T>(sum);
      return;
    }
    A sum[V];
    const Pack<T, V> first = load<V>(pieces + i * V);
#pragma unroll
    for (int j = 0; j < V; ++j) sum[j] = widened<A>(first.at[j]);
    for (int64_t p = 1; p < count; ++p) {
      const Pack<T, V> more = load<V>(pieces + p * stride + i * V);
#pragma unroll
      for (int j = 0; j < V; ++j) sum[j] = joined<rule, T>(sum[j], widened<A>(more.at[j]));
    }
    Pack<T, V> done;
#pragma unroll
    for (int j = 0; j < V; ++j) done.at[j] = narrow<T>(sum[j]);
    store(out + i * V, done);
  });
}

template <ReduceRule rule, typename T>
void reduce_as(const Stream& stream, const OrderedReduceOnGpuArgs& args) {
  const auto places = reinterpret_cast<uintptr_t>(args.pieces) | reinterpret_cast<uintptr_t>(args.out) |
                      static_cast<uintptr_t>(args.piece_bytes);
  places % 16 == 0 ? reduce_by<rule, T, kWide<T>>(stream, args) : reduce_by<rule, T, 1>(stream, args);
}

template <typename T>
void reduce(const Stream& stream, const OrderedReduceOnGpuArgs& args) {
  switch (args.rule) {
    case ReduceRule::kSum:
      return reduce_as<ReduceRule::kSum, T>(stream, args);
    case ReduceRule::kMax:
      return reduce_as<ReduceRule::kMax, T>(stream, args);
    case ReduceRule::kMin:
      return reduce_as<ReduceRule::kMin, T>(stream, args);
  }
}

}  // namespace

void ordered_reduce_on_gpu(const Stream& stream, const OrderedReduceOnGpuArgs& args) {
  if (args.count == 0) return;
  switch (args.dtype) {
    case DType::kF32:
      return reduce<float>(stream, args);
    case DType::kF64:
      return reduce<double>(stream, args);
    case DType::kBF16:
      return reduce<bf16>(stream, args);
    case DType::kI32:
      return reduce<int32_t>(stream, args);
    case DType::kI64:
      return reduce<int64_t>(stream, args);
    case DType::kU8:
      return reduce<uint8_t>(stream, args);
    default:
      CONCLAVE_CHECK(false, "[kernels/ordered_reduce] no sums of {}", dtype_name(args.dtype));
  }
}

}  // namespace conclave::kernels

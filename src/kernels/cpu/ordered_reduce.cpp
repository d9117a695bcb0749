#include "kernels/ordered_reduce.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "base/error.h"

namespace conclave::kernels {
namespace {

// A block is summed while it is in the first-level cache.
constexpr int64_t kBlock = 1024;

template <typename T>
struct Accumulator {
  using type = std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;
};
template <>
struct Accumulator<BF16> {
  using type = float;
};

template <typename A, typename T>
A widened(T value) {
  if constexpr (std::is_same_v<T, BF16>) {
    return to_float(value);
  } else {
    return static_cast<A>(value);
  }
}

template <typename T, typename A>
T stored(A value) {
  if constexpr (std::is_same_v<T, BF16>) {
    return to_bf16(value);
  } else {
    return static_cast<T>(value);
  }
}

// Integers are summed without a sign (no overflow there) and compared with it.
template <ReduceRule rule, typename T, typename A>
A joined(A sum, A value) {
  if constexpr (rule == ReduceRule::kSum) {
    return static_cast<A>(sum + value);
  } else if constexpr (std::is_floating_point_v<A>) {
    const bool takes = (rule == ReduceRule::kMax ? value > sum : value < sum) || std::isnan(value);
    return takes && !std::isnan(sum) ? value : sum;
  } else {
    const T a = static_cast<T>(sum), b = static_cast<T>(value);
    return static_cast<A>(rule == ReduceRule::kMax ? std::max(a, b) : std::min(a, b));
  }
}

template <ReduceRule rule, typename T>
void reduce_block(const OrderedReduceArgs& args, int64_t begin, int64_t count) {
  using A = typename Accumulator<T>::type;
  A sums[kBlock];
  const T* first = reinterpret_cast<const T*>(args.inputs[0]) + begin;
  for (int64_t i = 0; i < count; ++i) sums[i] = widened<A>(first[i]);
  for (size_t rank = 1; rank < args.inputs.size(); ++rank) {
    const T* more = reinterpret_cast<const T*>(args.inputs[rank]) + begin;
    for (int64_t i = 0; i < count; ++i) sums[i] = joined<rule, T>(sums[i], widened<A>(more[i]));
  }
  T results[kBlock];
  for (int64_t i = 0; i < count; ++i) results[i] = stored<T>(sums[i]);
  for (std::byte* output : args.outputs) {
    std::memcpy(reinterpret_cast<T*>(output) + begin, results, static_cast<size_t>(count) * sizeof(T));
  }
}

template <ReduceRule rule, typename T>
void reduce_all(const OrderedReduceArgs& args) {
  for (int64_t begin = 0; begin < args.count; begin += kBlock) {
    reduce_block<rule, T>(args, begin, std::min(kBlock, args.count - begin));
  }
}

template <typename T>
void reduce_by_rule(const OrderedReduceArgs& args) {
  switch (args.rule) {
    case ReduceRule::kSum:
      return reduce_all<ReduceRule::kSum, T>(args);
    case ReduceRule::kMax:
      return reduce_all<ReduceRule::kMax, T>(args);
    case ReduceRule::kMin:
      return reduce_all<ReduceRule::kMin, T>(args);
  }
}

}  // namespace

void ordered_reduce(const OrderedReduceArgs& args) {
  CONCLAVE_CHECK(!args.inputs.empty(), "a reduction over no ranks");
  switch (args.dtype) {
    case DType::kF32:
      return reduce_by_rule<float>(args);
    case DType::kF64:
      return reduce_by_rule<double>(args);
    case DType::kBF16:
      return reduce_by_rule<BF16>(args);
    case DType::kI32:
      return reduce_by_rule<int32_t>(args);
    case DType::kI64:
      return reduce_by_rule<int64_t>(args);
    case DType::kU8:
      return reduce_by_rule<uint8_t>(args);
    default:
      CONCLAVE_CHECK(false, "{} cannot be reduced", dtype_name(args.dtype));
  }
}

}  // namespace conclave::kernels

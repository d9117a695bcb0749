#include "kernels/cuda/random.cuh"
#include "kernels/dropout_backend.h"

namespace conclave::kernels::cuda {
namespace {

template <typename T, int V>
void add_by(const Stream& stream, const DropoutAddArgs& args) {
  const T* x = pointer<const T>(args.x);
  const T* residual = pointer<const T>(args.residual);
  T* out = pointer<T>(args.out);
  for_each(stream, "dropout_add", args.x.element_count() / V, [=] __device__(auto i) {
    const int64_t at = int64_t{i} * V;
    auto sum = load<V>(x + at);
    if (residual != nullptr) {
      const auto other = load<V>(residual + at);
      for (int j = 0; j < V; ++j) sum.at[j] = narrow<T>(wide(sum.at[j]) + wide(other.at[j]));
    }
    store(out + at, sum);
  });
}

template <typename T, int V>
void drop_by(const Stream& stream, const DropoutAddArgs& args) {
  const int64_t length = args.x.size(0), batch = args.x.size(1), width = args.x.size(2), packs = width / V;
  const T* x = pointer<const T>(args.x);
  const T* residual = pointer<const T>(args.residual);
  T* out = pointer<T>(args.out);
  const float rate = args.rate, scale = 1.0f / (1.0f - rate);
  const int64_t offset = args.sequence_offset;
  for (const SequenceKeys& keys : sequence_keys(args.streams)) {
    for_each(stream, "dropout_add", length * keys.count * packs, [=] __device__(auto i) {
      using Index = decltype(i);
      const Index row = i / static_cast<Index>(packs), column = (i - row * static_cast<Index>(packs)) * V;
      const int64_t s = row / static_cast<Index>(keys.count), b = row % static_cast<Index>(keys.count);
      const int64_t at = (s * batch + keys.first + b) * width + column;
      uint32_t bits[V];
      random_bits(keys.at[b], static_cast<uint64_t>((s + offset) * width + column), bits);
      const auto in = load<V>(x + at);
      Pack<T, V> other{}, sum;
      if (residual != nullptr) other = load<V>(residual + at);
      for (int j = 0; j < V; ++j) {
        const float kept = uniform_of(bits[j]) >= rate ? wide(in.at[j]) * scale : 0.0f;
        sum.at[j] = narrow<T>(residual != nullptr ? wide(other.at[j]) + kept : kept);
      }
      store(out + at, sum);
    });
  }
}

}  // namespace

void dropout_add(const Stream& stream, const DropoutAddArgs& args) {
  with_float(args.x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    constexpr int V = kWide<T>;
    const bool fast = args.x.size(2) % V == 0 && aligned(16, args.x, args.residual, args.out);
    if (args.rate == 0) {
      fast ? add_by<T, V>(stream, args) : add_by<T, 1>(stream, args);
    } else {
      fast ? drop_by<T, V>(stream, args) : drop_by<T, 1>(stream, args);
    }
  });
}

}  // namespace conclave::kernels::cuda

#include "kernels/random_logits.h"

#include "kernels/cuda/random.cuh"

namespace conclave::kernels::cuda {
namespace {

template <typename L>
void fill(const Stream& stream, const RandomLogitsArgs& args) {
  const int64_t experts = args.logits.size(1), batch = static_cast<int64_t>(args.streams.size());
  const int64_t length = batch == 0 ? 0 : args.logits.size(0) / batch, offset = args.sequence_offset;
  L* logits = pointer<L>(args.logits);
  const bool biased = args.bias.has_value();
  const StreamKey bias = biased ? key_of(*args.bias) : StreamKey{};
  const auto deviation = static_cast<float>(args.bias_deviation);
  for (const SequenceKeys& keys : sequence_keys(args.streams)) {
    for_each(stream, "random_logits", length * keys.count * experts, [=] __device__(auto i) {
      using Index = decltype(i);
      const Index row = i / static_cast<Index>(experts), e = i - row * static_cast<Index>(experts);
      const int64_t s = row / static_cast<Index>(keys.count), b = row % static_cast<Index>(keys.count);
      float value = normal_of(keys.at[b], static_cast<uint64_t>((s + offset) * experts + e));
      if (biased) value += deviation * normal_of(bias, e);
      logits[(s * batch + keys.first + b) * experts + e] = narrow<L>(value);
    });
  }
}

}  // namespace

void random_logits(const Stream& stream, const RandomLogitsArgs& args) {
  switch (args.logits.dtype()) {
    case DType::kF64:
      return fill<double>(stream, args);
    case DType::kBF16:
      return fill<bf16>(stream, args);
    default:
      return fill<float>(stream, args);
  }
}

}  // namespace conclave::kernels::cuda

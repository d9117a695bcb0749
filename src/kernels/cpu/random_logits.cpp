#include "kernels/random_logits.h"

#include "kernels/cpu/router_rows.h"

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(random_logits, RandomLogitsArgs)

namespace cpu {

void random_logits(const Stream&, const RandomLogitsArgs& args) {
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1);
  const auto batch = static_cast<int64_t>(args.streams.size());
  std::vector<float> bias(static_cast<size_t>(experts), 0.0f);
  if (args.bias)
    for (size_t e = 0; e < bias.size(); ++e) bias[e] = static_cast<float>(args.bias_deviation) * args.bias->normal(e);
  with_logits(args.logits.dtype(), false, [&](auto element, auto) {
    using L = decltype(element);
    L* logits = args.logits.data<L>();
#pragma omp parallel for schedule(static) if (tokens * experts >= 1024)
    for (int64_t t = 0; t < tokens; ++t) {
      const RandomStream& source = args.streams[static_cast<size_t>(t % batch)];
      const int64_t first = (t / batch + args.sequence_offset) * experts;
      for (int64_t e = 0; e < experts; ++e) {
        const float value = source.normal(static_cast<uint64_t>(first + e)) + bias[static_cast<size_t>(e)];
        store_gradient(logits + t * experts + e, value, Accumulate::kOverwrite);
      }
    }
  });
}

}  // namespace cpu
}  // namespace conclave::kernels

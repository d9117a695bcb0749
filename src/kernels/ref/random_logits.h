// Noise instead of logits, plainly.
#pragma once

#include "kernels/random_logits.h"

namespace conclave::kernels::ref {

template <typename Real>
void random_logits(const RandomLogitsArgs& args, int64_t tokens, int64_t expert_count, Real* logits) {
  const auto batch = static_cast<int64_t>(args.streams.size());
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t e = 0; e < expert_count; ++e) {
      const int64_t element = (t / batch + args.sequence_offset) * expert_count + e;
      float value = args.streams[static_cast<size_t>(t % batch)].normal(static_cast<uint64_t>(element));
      if (args.bias) value += static_cast<float>(args.bias_deviation) * args.bias->normal(static_cast<uint64_t>(e));
      logits[t * expert_count + e] = static_cast<Real>(value);
    }
}

}  // namespace conclave::kernels::ref

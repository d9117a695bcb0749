// Floating-point operations of a training step: the field's customary count, and the exact one. A product [m,k] x [k,n]
// is 2mkn; a training step does each product three times (forward, input gradient, weight gradient). Recomputation,
// norms, softmax and element-wise work are in neither.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "config/options.h"
#include "spec/model_spec.h"

namespace conclave {

/// What a step works on.
struct StepTokens {
  int64_t sequences = 0;                  ///< global batch
  std::optional<int64_t> tokens;          ///< default sequences * seq_length
  std::optional<int64_t> length_squares;  ///< sum of squared document lengths; default sequences * seq_length^2
};

/// Megatron-LM's count, so that TFLOP/s can be compared with other people's: attention as half of the full square, the
/// vocabulary with its padding, no router. From resolved options, also for models that cannot be trained here.
double customary_step_flops(const Options& options, int64_t padded_vocab, const StepTokens& step);

/// Query-key pairs of a causal document of `length` tokens whose queries see `window` keys, themselves included (0: all
/// before them).
double causal_pairs(int64_t length, int64_t window);

/// Every product of the step as it is done: exact causal pairs with windows, router and gates, no padding of the
/// vocabulary. `document_lengths`: tokens of each sequence, or of each document where attention stops at their ends.
double exact_step_flops(const ModelSpec& spec, std::span<const int64_t> document_lengths);

}  // namespace conclave

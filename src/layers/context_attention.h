// Attention whose sequence is cut over context-parallel ranks. Blocks of queries and keys are run by the same kernel as
// anywhere else, told where they stand; their results are merged by their log-sum-exps (Liu et al. 2023).
#pragma once

#include <vector>

#include "layers/attention_core.h"
#include "layers/context_split.h"

namespace conclave {

/// One more score in the denominators of this rank's heads (kernels/attention.h), and where its gradient is added.
struct ContextSink {
  Tensor score = {};     ///< [n]; optional
  Tensor gradient = {};  ///< [n] f32; optional
};

class ContextAttention {
 public:
  ContextAttention(const Context& context, const AttentionCoreConfig& config, const ContextSink& sink);

  /// This rank's heads -> out [S',B,n*Dv]; lse: one tensor for each run of queries, for backward. An observer that
  /// wants them sees the largest logits of each block of queries and keys.
  Tensor forward(const AttentionHeads& heads, std::vector<Tensor>* lse) const;
  AttentionHeads backward(const AttentionHeads& heads, const Tensor& out, const std::vector<Tensor>& lse,
                          const Tensor& dout) const;

 private:
  /// Queries, or keys with values, by run.
  struct Runs {
    std::vector<SequenceRun> runs;
    std::vector<Tensor> a, b;
  };
  const Context& context_;
  const AttentionCoreConfig& config_;
  ContextSplit split_;
  ContextSink sink_;  // of the heads that are here after an exchange of heads

  int64_t heads() const;
  int64_t first_head() const;
  kernels::AttentionMask mask(const SequenceRun& queries, const SequenceRun& keys) const;
  kernels::AttentionDropout dropout() const;
  bool sees(const SequenceRun& queries, const SequenceRun& keys) const;
  ContextSink sink(const SequenceRun& queries, const SequenceRun& keys) const;
  bool gathers() const { return config_.context_exchange == ContextExchange::kGather; }
  Runs own_keys(const AttentionHeads& heads) const;
  Runs passed_on(const Runs& keys, int64_t step) const;
  std::vector<Tensor> passed_on(const std::vector<Tensor>& tensors) const;
  void attend(const Runs& queries, const Runs& keys, const Runs& sums) const;
  void attend_backward(const Runs& queries, const Runs& rows, const std::vector<Tensor>& lse, const Runs& keys,
                       const Runs& query_gradients, const Runs& key_gradients) const;
};

}  // namespace conclave

// Softmax attention over heads that are there: what every kind of attention does between its projections.
#pragma once

#include <memory>
#include <string>

#include "kernels/attention.h"
#include "nn/context.h"

namespace conclave {

/// What the denominator of a head's softmax has beside the keys' scores: nothing, e^0, or e^(a learned number).
enum class AttentionSink { kNone, kZero, kLearned };

struct AttentionCoreConfig {
  std::string name;        ///< "decoder.layers.0.self_attention": keys dropout
  int64_t heads = 0;       ///< n, of this rank
  int64_t first_head = 0;  ///< number of the first of them in the model
  int64_t all_heads = 0;   ///< of the model
  int64_t value_dim = 0;   ///< Dv
  int64_t window = 0;      ///< keys a query sees, itself included; 0 = all before it
  double softmax_scale = 1;
  double dropout = 0;
  AttentionSink sink = AttentionSink::kNone;
  Initializer sink_init = {};  ///< kLearned
  ContextExchange context_exchange = ContextExchange::kRing;
};

/// q [B,n,S,D], k [B,g,S,D], v [B,g,S,Dv], rotated; or their gradients.
struct AttentionHeads {
  Tensor q, k, v;
};

struct AttentionCoreSaved {
  SavedTensor q, k;
  std::shared_ptr<Tensor> v;  ///< there once `k` was asked for
  SavedTensor out;            ///< [S,B,n*Dv]; "core_attn"
  /// [B,n,S] f32, with CP by run of queries; there once `out` was asked for.
  std::shared_ptr<std::vector<Tensor>> lse;
};

class AttentionCore {
 public:
  /// A learned sink is the parameter name.core_attention.softmax_offset [n].
  AttentionCore(ParameterStore& store, Device& device, AttentionCoreConfig config);

  /// Fills `saved` with heads that are kept: kinds of attention that can make them again fill it themselves.
  static void keep_heads(const Context& context, const AttentionHeads& heads, AttentionCoreSaved* saved);
  /// -> [S,B,n*Dv]. If a backward follows, q, k and v of `saved` are there already.
  Tensor forward(const Context& context, const AttentionHeads& heads, AttentionCoreSaved* saved) const;
  /// Without a backward, over the first `key_count` positions of k and v (0: all).
  Tensor forward_over(const Context& context, const AttentionHeads& heads, int64_t key_count) const;
  /// dout [S,B,n*Dv] -> gradients of the heads.
  AttentionHeads backward(const Context& context, const Tensor& dout, const AttentionCoreSaved& saved) const;

 private:
  AttentionCoreConfig config_;
  Parameter* offset_ = nullptr;  // kLearned
  Tensor zeros_;                 // kZero: [n]

  /// What a backward needs beside the heads: out, dout [S,B,n*Dv], lse [B,n,S], sink and its gradient [n].
  struct Rows {
    Tensor out, lse, dout, sink, dsink;
  };
  kernels::AttentionMask mask(const Context& context, int64_t sequence) const;
  kernels::AttentionDropout dropout(const Context& context) const;
  void forward_pass(const Context& context, kernels::AttentionForwardArgs args) const;
  Tensor run(const Context& context, const AttentionHeads& heads, std::vector<Tensor>* lse) const;
  AttentionHeads run_backward(const Context& context, const AttentionHeads& heads, const Rows& rows) const;
};

}  // namespace conclave

// What is known and has a place in the options, but is not built yet. This is the one list: to make an option work,
// build it and delete its line here (docs/options.md and docs/status.md follow; tests hold them to this table).
#include <algorithm>

#include "base/error.h"
#include "config/table/rows.h"

namespace conclave {
namespace {

/// An option that is refused unless it has its default or one of `off` values.
struct UnbuiltOption {
  const char* key;
  const char* feature;
  std::vector<std::string> off = {};
};

/// Values of an option that are refused, one by one.
struct UnbuiltValues {
  const char* key;
  const char* feature;
  std::vector<std::string> values;
};

const UnbuiltOption kUnbuiltOptions[] = {
    {"use-megatron-fsdp", "fully sharded data parallelism"},
    // Model.
    {"apply-residual-connection-post-layernorm", "residuals that start after the norm"},
    {"qk-l2-norm", "the L2 norm of q and k"},
    {"attention-output-gate", "gated attention"},
    {"apply-query-key-layer-scaling", "scores scaled by layer"},
    {"experimental-attention-variant", "linear and sparse attention"},
    {"linear-attention-freq", "linear attention"},
    {"linear-conv-kernel-dim", "linear attention"},
    {"linear-key-head-dim", "linear attention"},
    {"linear-value-head-dim", "linear attention"},
    {"linear-num-key-heads", "linear attention"},
    {"linear-num-value-heads", "linear attention"},
    {"dsa-indexer-n-heads", "sparse attention"},
    {"dsa-indexer-head-dim", "sparse attention"},
    {"dsa-indexer-topk", "sparse attention"},
    {"dsa-indexer-loss-coeff", "sparse attention"},
    {"dsa-indexer-use-sparse-loss", "sparse attention"},
    // Experts.
    {"moe-apply-probs-on-input", "weights on the expert's input"},
    {"moe-latent-size", "experts of another width"},
    // Precision.
    {"fp16", "f16 training (loss scaling)"},
    {"fp8-format", "FP8 training"},
    {"fp8-recipe", "FP8 training"},
    {"fp8-param-gather", "FP8 training"},
    {"reuse-grad-buf-for-mxfp8-param-ag", "FP8 training"},
    {"first-last-layers-bf16", "FP8 training"},
    {"num-layers-at-start-in-bf16", "FP8 training"},
    {"num-layers-at-end-in-bf16", "FP8 training"},
    {"moe-router-padding-for-quantization", "FP8 training"},
    {"fp4-format", "FP4 training"},
    {"use-precision-aware-optimizer", "optimizer states in smaller dtypes"},
    {"main-grads-dtype", "optimizer states in smaller dtypes"},
    {"main-params-dtype", "optimizer states in smaller dtypes"},
    {"exp-avg-dtype", "optimizer states in smaller dtypes"},
    {"exp-avg-sq-dtype", "optimizer states in smaller dtypes"},
    // Memory.
    {"distribute-saved-activations", "tensor parallelism"},
    {"fine-grained-activation-offloading", "activation offloading"},
    {"offload-modules", "activation offloading"},
    {"min-offloaded-tensor-size", "activation offloading"},
    {"activation-offload-fraction", "activation offloading"},
    {"delta-offload-bytes-across-pp-ranks", "activation offloading"},
    {"optimizer-cpu-offload", "optimizer offloading"},
    {"optimizer-offload-fraction", "optimizer offloading"},
    // Data.
    {"vocab-extra-ids", "ids after the vocabulary"},
};

const UnbuiltValues kUnbuiltValues[] = {
    {"position-embedding-type", "this kind of positions", {"mrope", "relative"}},
    {"moe-router-load-balancing-type", "quantile balancing", {"quantile_balancing"}},
    {"recompute-modules", "recomputation of this module", {"gdn_norm_out", "gdp_in_proj", "gdp_qkv", "mhc"}},
    {"optimizer", "this optimizer", {"muon", "dist_muon", "lion", "soap", "adaptive_muon"}},
    {"dataloader-type", "a loader of one's own", {"external"}},
    {"tokenizer-type",
     "this tokenizer",
     {"TikTokenizer", "BertWordPieceLowerCase", "BertWordPieceCase", "MultimodalTokenizer", "NullMultimodalTokenizer",
      "SFTTokenizer"}},
};

OptionRow& row_of(OptionRows& rows, const std::string& key) {
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const OptionRow& r) { return r.key == key; });
  CONCLAVE_CHECK(row != rows.end(), "not_built.cpp names {}, which is no option", key);
  return *row;
}

}  // namespace

void mark_unbuilt(OptionRows& rows) {
  for (const UnbuiltOption& option : kUnbuiltOptions) {
    OptionRow& row = row_of(rows, option.key);
    row.status = OptionClass::kUnavailable;
    row.feature = option.feature;
    row.off_values = option.off;
  }
  for (const UnbuiltValues& option : kUnbuiltValues) {
    OptionRow& row = row_of(rows, option.key);
    for (const std::string& value : option.values) row.unbuilt.push_back({value, option.feature});
  }
}

}  // namespace conclave

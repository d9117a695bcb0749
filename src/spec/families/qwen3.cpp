// Qwen3, dense: norms of q and k, head size of its own.
#include "spec/hugging_face/shared_parts.h"

namespace conclave {
namespace {

void read(ConfigReader& config, Json& options) {
  read_sizes(config, options, AttentionForm::kGrouped);
  if (!config.has("head_dim")) options["kv-channels"] = 128;
  read_rope(config, options, 10000, AttentionForm::kGrouped);
  read_layer_windows(config, options, [](int64_t layer, int64_t most) { return layer >= most; });
  options["qk-layernorm"] = true;
  options["add-attention-bias"] = config.flag("attention_bias", false);
}

void write(const Options& options, Json& config) {
  write_sizes(options, config, AttentionForm::kGrouped);
  config["head_dim"] = options.model.kv_channels;
  write_rope(options, config, AttentionForm::kGrouped);
  write_layer_windows(options, config);
  config["attention_bias"] = options.model.add_attention_bias;
}

}  // namespace

const Family kQwen3{"qwen3", "Qwen3ForCausalLM", {}, read, write};

}  // namespace conclave

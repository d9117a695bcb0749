// Qwen3-MoE: norms of q and k, no shared expert.
#include "spec/hugging_face/shared_parts.h"

namespace conclave {
namespace {

void read(ConfigReader& config, Json& options) {
  read_sizes(config, options, AttentionForm::kGrouped);
  read_rope(config, options, 10000, AttentionForm::kGrouped);
  const bool used = config.flag("use_sliding_window", false);
  Json windows = Json::object();
  config.ignore({"max_window_layers", "router_aux_loss_coef"});
  read_plain_window(config, windows, used ? 4096 : 0);
  if (used && windows.contains("window-size")) options["window-size"] = windows.at("window-size");
  options["qk-layernorm"] = true;
  options["add-attention-bias"] = config.flag("attention_bias", false);
  const bool renamed = config.has("num_local_experts") && !config.has("num_experts");
  options["num-experts"] = config.integer(renamed ? "num_local_experts" : "num_experts");
  options["moe-ffn-hidden-size"] = config.integer("moe_intermediate_size");
  options["moe-router-topk"] = config.integer("num_experts_per_tok");
  set_softmax_norm(options, config.flag("norm_topk_prob", false), config);
  read_sparse_steps(config, options);
}

void write(const Options& options, Json& config) {
  write_sizes(options, config, AttentionForm::kGrouped);
  config["head_dim"] = options.model.kv_channels;
  write_rope(options, config, AttentionForm::kGrouped);
  write_plain_window(options, config);
  config["use_sliding_window"] = !config.at("sliding_window").is_null();
  config["attention_bias"] = options.model.add_attention_bias;
  config["num_experts"] = options.moe.num_experts;
  config["moe_intermediate_size"] = options.moe.moe_ffn_hidden_size;
  config["num_experts_per_tok"] = options.moe.moe_router_topk;
  config["norm_topk_prob"] = softmax_norm(options);
  write_sparse_steps(options, config);
}

}  // namespace

const Family kQwen3Moe{"qwen3_moe", "Qwen3MoeForCausalLM", {}, read, write};

}  // namespace conclave

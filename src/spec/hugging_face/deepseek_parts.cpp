#include "spec/hugging_face/deepseek_parts.h"

#include "config/resolve.h"
#include "spec/hugging_face/shared_parts.h"

namespace conclave {
namespace {

constexpr double kLatentNormEpsilon = 1e-6;  // whatever rms_norm_eps says

void read_latent(ConfigReader& config, Json& options) {
  const int64_t plain = config.integer("qk_nope_head_dim"), rotated = config.integer("qk_rope_head_dim");
  options["multi-latent-attention"] = true;
  options["q-lora-rank"] = config.integer("q_lora_rank", 0);
  options["kv-lora-rank"] = config.integer("kv_lora_rank");
  options["qk-head-dim"] = plain;
  options["qk-pos-emb-head-dim"] = rotated;
  options["v-head-dim"] = config.integer("v_head_dim");
  options["qk-layernorm"] = true;
  options["latent-norm-epsilon"] = kLatentNormEpsilon;
  options["add-attention-bias"] = config.flag("attention_bias", false);
  const int64_t head = config.integer("head_dim", rotated), whole = config.integer("qk_head_dim", plain + rotated);
  if (head != rotated)
    config.refuse("\"head_dim\" must be \"qk_rope_head_dim\" with latent attention; got {} and {}", head, rotated);
  if (whole != plain + rotated)
    config.refuse("\"qk_head_dim\" must be \"qk_nope_head_dim\" plus \"qk_rope_head_dim\"; got {} and {}", whole,
                  plain + rotated);
}

}  // namespace

void read_deepseek(ConfigReader& config, Json& options) {
  read_sizes(config, options, AttentionForm::kLatent);
  read_rope(config, options, 10000, AttentionForm::kLatent);
  read_latent(config, options);
  const bool renamed = config.has("num_local_experts") && !config.has("n_routed_experts");
  options["num-experts"] = config.integer(renamed ? "num_local_experts" : "n_routed_experts");
  options["moe-router-dtype"] = "fp32";
  const int64_t width = config.integer("moe_intermediate_size");
  options["moe-ffn-hidden-size"] = width;
  const int64_t shared = config.integer("n_shared_experts", 0);
  if (shared > 0) options["moe-shared-expert-intermediate-size"] = shared * width;
  options["moe-router-topk"] = config.integer("num_experts_per_tok");
  options["moe-router-topk-scaling-factor"] = config.number("routed_scaling_factor", 1);
  const int64_t layers = std::min<int64_t>(config.integer("num_hidden_layers"), 1 << 20);
  const int64_t dense = config.integer("first_k_dense_replace", 0), frequency = config.integer("moe_layer_freq", 1);
  if (frequency != 1) config.refuse("\"moe_layer_freq\" must be 1; got {}", frequency);
  std::vector<bool> experts;
  for (int64_t i = 0; i < layers; ++i) experts.push_back(i >= dense);
  set_moe_layers(options, experts);
  config.ignore({"aux_loss_alpha", "seq_aux", "ep_size", "router_aux_loss_coef"});
}

void read_deepseek_groups(ConfigReader& config, Json& options, const std::string& score) {
  const int64_t groups = config.integer("n_group", 1), chosen = config.integer("topk_group", 1);
  if (groups <= 1 && chosen <= 1) return;
  options["moe-router-num-groups"] = groups;
  options["moe-router-group-topk"] = chosen;
  options["moe-router-group-score"] = score;
}

void write_deepseek(const Options& options, Json& config) {
  const MoeOptions& moe = options.moe;
  const AttentionVariantOptions& latent = options.attention;
  write_sizes(options, config, AttentionForm::kLatent);
  write_rope(options, config, AttentionForm::kLatent);
  config["attention_bias"] = options.model.add_attention_bias;
  config["q_lora_rank"] = latent.q_lora_rank > 0 ? Json(latent.q_lora_rank) : Json();
  config["kv_lora_rank"] = latent.kv_lora_rank;
  config["qk_nope_head_dim"] = latent.qk_head_dim;
  config["qk_rope_head_dim"] = latent.qk_pos_emb_head_dim;
  config["v_head_dim"] = latent.v_head_dim;
  config["n_routed_experts"] = moe.num_experts;
  config["moe_intermediate_size"] = moe.moe_ffn_hidden_size;
  config["moe_layer_freq"] = 1;
  config["n_shared_experts"] =
      moe.moe_ffn_hidden_size > 0 ? moe.moe_shared_expert_intermediate_size / moe.moe_ffn_hidden_size : 0;
  config["num_experts_per_tok"] = moe.moe_router_topk;
  config["routed_scaling_factor"] = moe.moe_router_topk_scaling_factor != 0 ? moe.moe_router_topk_scaling_factor : 1.0;
  const std::vector<bool> experts = moe_layers(options);
  int64_t dense = 0;
  while (dense < static_cast<int64_t>(experts.size()) && !experts[static_cast<size_t>(dense)]) ++dense;
  config["first_k_dense_replace"] = dense;
  config["n_group"] = moe.moe_router_group_topk > 0 ? Json(moe.moe_router_num_groups) : Json();
  config["topk_group"] = moe.moe_router_group_topk > 0 ? Json(moe.moe_router_group_topk) : Json();
}

}  // namespace conclave

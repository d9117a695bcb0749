// Qwen1.5-MoE and Qwen2-MoE: a gated shared expert, biases on q, k and v, some layers dense.
#include "spec/hugging_face/shared_parts.h"

namespace conclave {
namespace {

void read(ConfigReader& config, Json& options) {
  read_sizes(config, options, AttentionForm::kGrouped);
  read_rope(config, options, 10000, AttentionForm::kGrouped);
  read_layer_windows(config, options, [](int64_t layer, int64_t most) { return layer % 2 == 0 && layer < most; });
  options["add-qkv-bias"] = config.flag("qkv_bias", true);
  options["num-experts"] = config.integer("num_experts");
  options["moe-ffn-hidden-size"] = config.integer("moe_intermediate_size");
  options["moe-shared-expert-intermediate-size"] = config.integer("shared_expert_intermediate_size");
  options["moe-shared-expert-gate"] = true;
  options["moe-router-topk"] = config.integer("num_experts_per_tok");
  set_softmax_norm(options, config.flag("norm_topk_prob", false), config);
  read_sparse_steps(config, options);
  config.ignore({"router_aux_loss_coef"});
}

void write(const Options& options, Json& config) {
  write_sizes(options, config, AttentionForm::kGrouped);
  write_rope(options, config, AttentionForm::kGrouped);
  write_layer_windows(options, config);
  config["qkv_bias"] = options.model.add_qkv_bias;
  config["num_experts"] = options.moe.num_experts;
  config["moe_intermediate_size"] = options.moe.moe_ffn_hidden_size;
  config["shared_expert_intermediate_size"] = options.moe.moe_shared_expert_intermediate_size;
  config["num_experts_per_tok"] = options.moe.moe_router_topk;
  config["norm_topk_prob"] = softmax_norm(options);
  write_sparse_steps(options, config);
}

}  // namespace

const Family kQwen2Moe{"qwen2_moe", "Qwen2MoeForCausalLM", {}, read, write};

}  // namespace conclave

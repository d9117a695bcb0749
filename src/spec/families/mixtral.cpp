// Mixtral 8x7B and 8x22B: every layer has experts, top-2 with normalised weights.
#include "spec/hugging_face/shared_parts.h"

namespace conclave {
namespace {

void read(ConfigReader& config, Json& options) {
  read_sizes(config, options, AttentionForm::kGrouped);
  read_rope(config, options, 1e6, AttentionForm::kGrouped);
  read_plain_window(config, options, 0);
  const bool renamed = config.has("num_experts") && !config.has("num_local_experts");
  options["num-experts"] = config.integer(renamed ? "num_experts" : "num_local_experts");
  options["moe-ffn-hidden-size"] = config.integer("intermediate_size");
  options["moe-router-topk"] = config.integer("num_experts_per_tok", 2);
  set_softmax_norm(options, true, config);
  config.ignore({"router_aux_loss_coef"});
  const double jitter = config.number("router_jitter_noise", 0);
  if (jitter == 0) return;
  options["moe-input-jitter-eps"] = jitter;
  config.warn("router_jitter_noise: here it moves the router's input alone, not that of the experts");
}

void write(const Options& options, Json& config) {
  write_sizes(options, config, AttentionForm::kGrouped);
  write_rope(options, config, AttentionForm::kGrouped);
  write_plain_window(options, config);
  config["intermediate_size"] = options.moe.moe_ffn_hidden_size;
  config["num_local_experts"] = options.moe.num_experts;
  config["num_experts_per_tok"] = options.moe.moe_router_topk;
  config["router_jitter_noise"] = options.moe.moe_input_jitter_eps;
}

}  // namespace

const Family kMixtral{"mixtral",
                      "MixtralForCausalLM",
                      {.block = "block_sparse_moe", .gate = "w1", .up = "w3", .down = "w2"},
                      read,
                      write};

}  // namespace conclave

// DeepSeek-V3 and R1: latent attention, sigmoid scores with a bias on the choice, groups by their best two experts,
// prediction depths.
#include "spec/hugging_face/deepseek_parts.h"
#include "spec/hugging_face/shared_parts.h"

namespace conclave {
namespace {

void read(ConfigReader& config, Json& options) {
  read_deepseek(config, options);
  options["moe-router-score-function"] = "sigmoid";
  options["moe-router-enable-expert-bias"] = true;
  options["moe-router-norm-topk-prob"] = config.flag("norm_topk_prob", true) ? "always" : "never";
  options["latent-rotary-by-halves"] = !config.flag("rope_interleave", true);
  read_deepseek_groups(config, options, "top2_sum");
  const int64_t depths = config.integer("num_nextn_predict_layers", config.integer("num_mtp_layers", 0));
  if (depths > 0) options["mtp-num-layers"] = depths;
  const std::string scores = config.text("scoring_func", "sigmoid"), method = config.text("topk_method", "noaux_tc");
  if (scores != "sigmoid") config.refuse("\"scoring_func\" must be \"sigmoid\"; got \"{}\"", scores);
  if (method != "noaux_tc") config.refuse("\"topk_method\" must be \"noaux_tc\"; got \"{}\"", method);
}

void write(const Options& options, Json& config) {
  write_deepseek(options, config);
  config["norm_topk_prob"] = options.moe.moe_router_norm_topk_prob == "always" ||
                             (options.moe.moe_router_norm_topk_prob == "auto" && options.moe.moe_router_topk > 1);
  config["num_nextn_predict_layers"] = options.attention.mtp_num_layers;
  config["rope_interleave"] = !options.attention.latent_rotary_by_halves;
  config["scoring_func"] = "sigmoid";
  config["topk_method"] = "noaux_tc";
  if (options.moe.moe_router_group_topk > 0) return;
  config["n_group"] = 1;  // one group that is always chosen
  config["topk_group"] = 1;
}

}  // namespace

const Family kDeepseekV3{"deepseek_v3", "DeepseekV3ForCausalLM", {.shared = "shared_experts"}, read, write};

}  // namespace conclave

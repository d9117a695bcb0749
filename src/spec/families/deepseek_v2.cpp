// DeepSeek-V2 and V2-Lite: latent attention, softmax scores that are not normalised, groups by their best expert.
#include "spec/hugging_face/deepseek_parts.h"
#include "spec/hugging_face/shared_parts.h"

namespace conclave {
namespace {

void read(ConfigReader& config, Json& options) {
  read_deepseek(config, options);
  options["add-mlp-bias"] = config.flag("mlp_bias", false);
  set_softmax_norm(options, false, config);
  if (config.flag("norm_topk_prob", false))
    config.refuse(
        "\"norm_topk_prob\" true: Transformers ignores it, DeepSeek's own code does not; set it to false in "
        "a copy of the file to do as Transformers does");
  const std::string method = config.text("topk_method", "greedy");
  if (method == "group_limited_greedy") {
    read_deepseek_groups(config, options, "max");
  } else if (method != "greedy") {
    config.refuse("\"topk_method\" must be \"greedy\" or \"group_limited_greedy\"; got \"{}\"", method);
  }
  config.ignore({"n_group", "topk_group"});
  const std::string scores = config.text("scoring_func", "softmax");
  if (scores != "softmax") config.refuse("\"scoring_func\" must be \"softmax\"; got \"{}\"", scores);
}

void write(const Options& options, Json& config) {
  write_deepseek(options, config);
  config["mlp_bias"] = options.model.add_mlp_bias;
  config["norm_topk_prob"] = false;
  config["scoring_func"] = "softmax";
  config["topk_method"] = options.moe.moe_router_group_topk > 0 ? "group_limited_greedy" : "greedy";
}

}  // namespace

const Family kDeepseekV2{"deepseek_v2", "DeepseekV2ForCausalLM", {.shared = "shared_experts"}, read, write};

}  // namespace conclave

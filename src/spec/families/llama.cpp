// Llama 2, 3 and 3.1.
#include "spec/hugging_face/shared_parts.h"

namespace conclave {
namespace {

void read(ConfigReader& config, Json& options) {
  read_sizes(config, options, AttentionForm::kGrouped);
  read_rope(config, options, 10000, AttentionForm::kGrouped);
  options["add-attention-bias"] = config.flag("attention_bias", false);
  options["add-mlp-bias"] = config.flag("mlp_bias", false);
}

void write(const Options& options, Json& config) {
  write_sizes(options, config, AttentionForm::kGrouped);
  write_rope(options, config, AttentionForm::kGrouped);
  config["attention_bias"] = options.model.add_attention_bias;
  config["mlp_bias"] = options.model.add_mlp_bias;
}

}  // namespace

const Family kLlama{"llama", "LlamaForCausalLM", {}, read, write};

}  // namespace conclave

// Qwen2 and Qwen2.5: biases on q, k and v.
#include "spec/hugging_face/shared_parts.h"

namespace conclave {
namespace {

void read(ConfigReader& config, Json& options) {
  read_sizes(config, options, AttentionForm::kGrouped);
  read_rope(config, options, 10000, AttentionForm::kGrouped);
  read_layer_windows(config, options, [](int64_t layer, int64_t most) { return layer >= most; });
  options["add-qkv-bias"] = true;
}

void write(const Options& options, Json& config) {
  write_sizes(options, config, AttentionForm::kGrouped);
  write_rope(options, config, AttentionForm::kGrouped);
  write_layer_windows(options, config);
}

}  // namespace

const Family kQwen2{"qwen2", "Qwen2ForCausalLM", {}, read, write};

}  // namespace conclave

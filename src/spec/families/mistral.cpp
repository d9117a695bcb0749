// Mistral 7B: a window in every layer.
#include "spec/hugging_face/shared_parts.h"

namespace conclave {
namespace {

constexpr int64_t kDefaultWindow = 4096;  // where the key is absent

void read(ConfigReader& config, Json& options) {
  read_sizes(config, options, AttentionForm::kGrouped);
  read_rope(config, options, 10000, AttentionForm::kGrouped);
  read_plain_window(config, options, kDefaultWindow);
}

void write(const Options& options, Json& config) {
  write_sizes(options, config, AttentionForm::kGrouped);
  write_rope(options, config, AttentionForm::kGrouped);
  write_plain_window(options, config);
}

}  // namespace

const Family kMistral{"mistral", "MistralForCausalLM", {}, read, write};

}  // namespace conclave

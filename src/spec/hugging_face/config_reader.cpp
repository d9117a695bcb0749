#include "spec/hugging_face/config_reader.h"

#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

// What every configuration may carry: names, tokens, how a library is to run it.
constexpr std::string_view kHarmless[] = {"_attn_implementation",
                                          "_attn_implementation_autoset",
                                          "_name_or_path",
                                          "architectures",
                                          "auto_map",
                                          "bos_token_id",
                                          "dtype",
                                          "eos_token_id",
                                          "id2label",
                                          "label2id",
                                          "model_type",
                                          "output_attentions",
                                          "output_hidden_states",
                                          "output_router_logits",
                                          "pad_token_id",
                                          "pretraining_tp",
                                          "return_dict",
                                          "torch_dtype",
                                          "transformers_version",
                                          "unsloth_version",
                                          "use_cache"};

}  // namespace

ConfigReader::ConfigReader(const Json& config, std::string what) : config_(config), what_(std::move(what)) {
  CONCLAVE_USER_CHECK(config.is_object(), "{}: a model's configuration is a JSON object", what_);
  known_.insert(std::begin(kHarmless), std::end(kHarmless));
}

const Json* ConfigReader::find(std::string_view key) {
  known_.emplace(key);
  const Json* value = config_.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

int64_t ConfigReader::integer(std::string_view key) {
  if (!has(key)) {
    refuse("\"{}\" is missing", key);
    return 1;
  }
  const int64_t value = integer(key, 1);
  if (value < 1) refuse("\"{}\" must be at least 1; got {}", key, value);
  return std::max<int64_t>(value, 1);
}

int64_t ConfigReader::integer(std::string_view key, int64_t otherwise) {
  const Json* value = find(key);
  if (value == nullptr) return otherwise;
  constexpr double kMost = 1e12;  // so that products of a few sizes fit into 64 bits
  if (!value->is_number() || value->as_double() != std::floor(value->as_double()) || value->as_double() < 0 ||
      value->as_double() > kMost) {
    refuse("\"{}\" must be a whole number from 0 to 1e12; got {}", key, value->dump());
    return otherwise;
  }
  return value->as_int();
}

double ConfigReader::number(std::string_view key, double otherwise) {
  const Json* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_number()) {
    refuse("\"{}\" must be a number; got {}", key, value->dump());
    return otherwise;
  }
  return value->as_double();
}

bool ConfigReader::flag(std::string_view key, bool otherwise) {
  const Json* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_bool()) {
    refuse("\"{}\" must be true or false; got {}", key, value->dump());
    return otherwise;
  }
  return value->as_bool();
}

std::string ConfigReader::text(std::string_view key, std::string otherwise) {
  const Json* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_string()) {
    refuse("\"{}\" must be a text; got {}", key, value->dump());
    return otherwise;
  }
  return value->as_string();
}

void ConfigReader::ignore(std::initializer_list<std::string_view> keys) { known_.insert(keys.begin(), keys.end()); }

void ConfigReader::finish() {
  for (const auto& [key, value] : config_.as_object()) {
    if (!known_.contains(key) && !value.is_null())
      refuse("\"{}\": {} is not known; it may change what the model computes", key, value.dump());
  }
  CONCLAVE_USER_CHECK(faults_.empty(), "{} cannot be used:\n  {}", what_, join(faults_, "\n  "));
}

}  // namespace conclave

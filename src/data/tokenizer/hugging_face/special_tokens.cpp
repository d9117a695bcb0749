#include "data/tokenizer/hugging_face/special_tokens.h"

#include "base/error.h"
#include "base/file.h"
#include "data/tokenizer/context.h"
#include "data/tokenizer/hugging_face/fields.h"

namespace conclave::hugging_face {
namespace {

using Find = std::function<std::optional<int32_t>(const std::string&)>;

constexpr const char* kUsualEnds[] = {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eot_id|>", "<|im_end|>"};

// "eos_token": "</s>" or {"content": "</s>", ...}.
void read_by_text(const Json& json, const char* key, const Find& find, std::optional<int32_t>& id) {
  const Json* value = json.find(key);
  if (id || value == nullptr || value->is_null()) return;
  const std::string& text = value->is_object() ? value->at("content").as_string() : value->as_string();
  id = find(text);
  CONCLAVE_USER_CHECK(id.has_value(), "{} '{}' is not a token of tokenizer.json", key, text.substr(0, 60));
}

// "eos_token_id": 2 or [2, 3].
void read_by_id(const Json& json, const char* key, int64_t vocab_size, std::optional<int32_t>& id) {
  const Json* value = json.find(key);
  if (id || value == nullptr || value->is_null()) return;
  if (value->is_array() && value->size() == 0) return;
  const int64_t number = value->is_array() ? value->at(0).as_int() : value->as_int();
  if (number < 0) return;  // some files say -1 for "none"
  CONCLAVE_USER_CHECK(number < vocab_size, "{} {} is outside the tokenizer's vocabulary of {}", key, number,
                      vocab_size);
  id = static_cast<int32_t>(number);
}

template <typename Action>
void with_file(const std::string& path, Action&& action) {
  if (!file_exists(path)) return;
  const Json json = Json::parse(read_file(path), path);
  with_context(path, [&] { action(json); });
}

}  // namespace

SpecialTokens read_special_tokens(const std::string& folder, const Find& find, int64_t vocab_size) {
  SpecialTokens found;
  if (!folder.empty()) {
    for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
      with_file(fmt::format("{}/{}", folder, name), [&](const Json& json) {
        read_by_text(json, "eos_token", find, found.eos);
        read_by_text(json, "bos_token", find, found.bos);
        read_by_text(json, "pad_token", find, found.pad);
      });
    }
    for (const char* name : {"generation_config.json", "config.json"}) {
      with_file(fmt::format("{}/{}", folder, name), [&](const Json& json) {
        read_by_id(json, "eos_token_id", vocab_size, found.eos);
        read_by_id(json, "bos_token_id", vocab_size, found.bos);
        read_by_id(json, "pad_token_id", vocab_size, found.pad);
      });
    }
  }
  for (const char* text : kUsualEnds) {
    if (!found.eos) found.eos = find(text);
  }
  return found;
}

}  // namespace conclave::hugging_face

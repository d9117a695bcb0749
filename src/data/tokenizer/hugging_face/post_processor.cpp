#include "data/tokenizer/hugging_face/post_processor.h"

#include "base/error.h"
#include "data/tokenizer/context.h"
#include "data/tokenizer/hugging_face/fields.h"
#include "data/tokenizer/vocabulary.h"

namespace conclave::hugging_face {
namespace {

int32_t token_id(const Json& json) {
  const int64_t id = json.as_int();
  CONCLAVE_USER_CHECK(id >= 0 && id < Vocabulary::kMaxSize, "token id {} is outside 0 to {}", id,
                      Vocabulary::kMaxSize - 1);
  return static_cast<int32_t>(id);
}

void add_special(const Json& piece, const Json& special_tokens, std::vector<int32_t>& ids) {
  const std::string& name = piece.at("id").as_string();
  const Json* token = special_tokens.find(name);
  CONCLAVE_USER_CHECK(token != nullptr, "special token '{}' is not in special_tokens", name.substr(0, 60));
  for (const Json& id : token->at("ids").as_array()) ids.push_back(token_id(id));
}

Template from_pieces(const Json& json) {
  check_keys(json, {"type", "single", "pair", "special_tokens"}, "post_processor TemplateProcessing");
  Template result;
  bool seen = false;
  for (const Json& piece : json.at("single").as_array()) {
    check_keys(piece, {"SpecialToken", "Sequence"}, "template piece");
    if (const Json* special = piece.find("SpecialToken")) {
      add_special(*special, json.at("special_tokens"), seen ? result.behind : result.before);
    } else {
      const std::string& sequence = piece.at("Sequence").at("id").as_string();
      CONCLAVE_USER_CHECK(sequence == "A" && !seen,
                          "the template of a single text must hold the sequence A once; got '{}'",
                          sequence.substr(0, 60));
      seen = true;
    }
  }
  CONCLAVE_USER_CHECK(seen, "the template of a single text does not hold the sequence A");
  return result;
}

// Roberta and Bert: [cls] text [sep]; their other fields concern offsets only.
Template from_cls_sep(const Json& json, const std::string& type) {
  check_keys(json, {"type", "sep", "cls", "trim_offsets", "add_prefix_space"}, "post_processor " + type);
  return {{token_id(json.at("cls").at(1))}, {token_id(json.at("sep").at(1))}};
}

}  // namespace

Template make_template(const Json& json) {
  if (json.is_null()) return {};
  const std::string& type = type_of(json, "post_processor");
  if (type == "TemplateProcessing")
    return with_context("post_processor TemplateProcessing", [&] { return from_pieces(json); });
  if (type == "RobertaProcessing" || type == "BertProcessing") return from_cls_sep(json, type);
  if (type == "ByteLevel") {  // concerns offsets only
    check_keys(json, {"type", "add_prefix_space", "trim_offsets", "use_regex"}, "post_processor ByteLevel");
    return {};
  }
  if (type == "Sequence") {
    check_keys(json, {"type", "processors"}, "post_processor Sequence");
    Template result;
    for (const Json& part : json.at("processors").as_array()) {
      const Template inner = make_template(part);
      result.before.insert(result.before.begin(), inner.before.begin(), inner.before.end());
      result.behind.insert(result.behind.end(), inner.behind.begin(), inner.behind.end());
    }
    return result;
  }
  refuse_type("post_processor", type, "Sequence, TemplateProcessing, RobertaProcessing, BertProcessing, ByteLevel");
}

}  // namespace conclave::hugging_face

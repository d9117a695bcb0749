#include "data/tokenizer/hugging_face/hugging_face_tokenizer.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/tokenizer/context.h"
#include "data/tokenizer/hugging_face/fields.h"
#include "data/tokenizer/utf8.h"

namespace conclave {

using hugging_face::check_keys;

std::unique_ptr<HuggingFaceTokenizer> HuggingFaceTokenizer::load(const std::string& path) {
  const bool folder_given = is_directory(path);
  const std::string file = folder_given ? path + "/tokenizer.json" : path;
  CONCLAVE_USER_CHECK(
      !folder_given || file_exists(file),
      "[data/tokenizer] the folder '{}' holds no tokenizer.json; give --tokenizer-model a tokenizer.json or its "
      "folder (a tokenizer.model is for SentencePieceTokenizer)",
      path);
  auto tokenizer = std::make_unique<HuggingFaceTokenizer>(Json::parse(read_file(file), file), file);
  const std::string parent = std::filesystem::path(file).parent_path().string();
  const std::string folder = parent.empty() ? std::string(1, '.') : parent;
  tokenizer->find_special_tokens(folder);
  tokenizer->files_.push_back(file);
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json"}) {
    if (file_exists(fmt::format("{}/{}", folder, name)))
      tokenizer->files_.push_back(fmt::format("{}/{}", folder, name));
  }
  return tokenizer;
}

std::unique_ptr<HuggingFaceTokenizer> HuggingFaceTokenizer::load_gpt2(const std::string& vocab_file,
                                                                      const std::string& merge_file) {
  Json merges = Json::array();
  for (std::string& line : split(read_file(merge_file), '\n')) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) merges.push_back(Json(std::move(line)));
  }
  Json json, model, bytes;
  model["vocab"] = Json::parse(read_file(vocab_file), vocab_file);
  model["merges"] = std::move(merges);
  bytes["type"] = "ByteLevel";
  bytes["add_prefix_space"] = false;
  json["model"] = std::move(model);
  json["pre_tokenizer"] = bytes;
  json["decoder"] = bytes;
  auto tokenizer = std::make_unique<HuggingFaceTokenizer>(json, fmt::format("{} and {}", vocab_file, merge_file),
                                                          "GPT2BPETokenizer");
  tokenizer->files_ = {vocab_file, merge_file};
  return tokenizer;
}

HuggingFaceTokenizer::HuggingFaceTokenizer(const Json& json, const std::string& what, const std::string& name)
    : name_(name) {
  with_context(fmt::format("[data/tokenizer] {}", what), [&] { read(json); });
  find_special_tokens("");
}

void HuggingFaceTokenizer::read(const Json& json) {
  using namespace hugging_face;
  check_keys(json,
             {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
              "decoder", "model"},
             "tokenizer");
  const std::string version = text_or(json, "version", "1.0");
  CONCLAVE_USER_CHECK(version == "1.0", "version '{}' is not supported; known is 1.0", version.substr(0, 60));
  const Json null;
  const auto part = [&](const char* key) -> const Json& {
    const Json* found = json.find(key);
    return found != nullptr ? *found : null;
  };
  normalizer_ = make_normalizer(part("normalizer"));
  pre_tokenizers_ = make_pre_tokenizers(part("pre_tokenizer"));
  model_ = std::make_unique<BpeModel>(json.at("model"),
                                      pre_tokenizers_.bytes ? BpeModel::Units::kBytes : BpeModel::Units::kCharacters);
  added_ = std::make_unique<AddedTokens>(part("added_tokens").is_null() ? Json::array() : part("added_tokens"),
                                         model_->vocabulary(), normalizer_.get());
  template_ = make_template(part("post_processor"));
  decoder_ = make_decoder(part("decoder"));
  vocab_size_ = model_->vocabulary().size();
  for (const AddedToken& token : added_->all()) vocab_size_ = std::max<int64_t>(vocab_size_, token.id + int64_t{1});
  for (const std::vector<int32_t>* ids : {&template_.before, &template_.behind}) {
    for (const int32_t id : *ids) {
      CONCLAVE_USER_CHECK(id < vocab_size_, "post_processor: id {} is outside the vocabulary of {}", id, vocab_size_);
    }
  }
  CONCLAVE_USER_CHECK(vocab_size_ > 0, "the vocabulary is empty");
}

void HuggingFaceTokenizer::find_special_tokens(const std::string& folder) {
  special_ = hugging_face::read_special_tokens(
      folder, [&](const std::string& text) { return token_id(text); }, vocab_size_);
}

void HuggingFaceTokenizer::encode_to(std::string_view text, std::vector<int32_t>& out) const {
  const auto scratch = scratch_.take();
  if (!utf8::is_valid(text)) {
    scratch->valid_text.clear();
    utf8::append_replacing_broken(scratch->valid_text, text);
    text = scratch->valid_text;
  }
  added_->split_raw(text, scratch->segments);
  for (const hugging_face::Segment& segment : scratch->segments) {
    if (segment.id >= 0) {
      out.push_back(segment.id);
    } else {
      encode_segment(text.substr(segment.begin, segment.end - segment.begin), segment.begin == 0, *scratch, out);
    }
  }
}

void HuggingFaceTokenizer::encode_segment(std::string_view text, bool at_origin, Scratch& scratch,
                                          std::vector<int32_t>& out) const {
  if (normalizer_ != nullptr) {
    scratch.normalized.text = text;
    scratch.normalized.at_origin = at_origin;
    normalizer_->apply(scratch.normalized);
    text = scratch.normalized.text;
    at_origin = scratch.normalized.at_origin;
  }
  if (!added_->has_normalized()) return encode_words(text, at_origin, scratch, out);
  added_->split_normalized(text, scratch.inner_segments);
  for (const hugging_face::Segment& segment : scratch.inner_segments) {
    if (segment.id >= 0) {
      out.push_back(segment.id);
    } else {
      encode_words(text.substr(segment.begin, segment.end - segment.begin), at_origin && segment.begin == 0, scratch,
                   out);
    }
  }
}

void HuggingFaceTokenizer::encode_words(std::string_view text, bool at_origin, Scratch& scratch,
                                        std::vector<int32_t>& out) const {
  scratch.pieces.reset(text, at_origin);
  for (const auto& step : pre_tokenizers_.steps) step->apply(scratch.pieces);
  scratch.pieces.for_each([&](std::string_view word) { model_->encode_word(word, scratch.model, out); });
}

std::vector<int32_t> HuggingFaceTokenizer::encode_with_special(std::string_view text) const {
  std::vector<int32_t> ids = template_.before;
  encode_to(text, ids);
  ids.insert(ids.end(), template_.behind.begin(), template_.behind.end());
  return ids;
}

std::string HuggingFaceTokenizer::decode(std::span<const int32_t> ids) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    check_id(id);
    if (const hugging_face::AddedToken* token = added_->find(id)) {
      tokens.push_back(token->normalized_content);
    } else if (model_->vocabulary().has(id)) {
      tokens.emplace_back(model_->vocabulary().text(id));
    }
  }
  if (decoder_ != nullptr && !tokens.empty()) decoder_->apply(tokens);
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (decoder_ == nullptr && i > 0) text += ' ';
    text += tokens[i];
  }
  return text;
}

std::string HuggingFaceTokenizer::token_text(int32_t id) const {
  check_id(id);
  if (const hugging_face::AddedToken* token = added_->find(id)) return token->content;
  return std::string(model_->vocabulary().text(id));
}

std::optional<int32_t> HuggingFaceTokenizer::token_id(std::string_view token) const {
  if (const hugging_face::AddedToken* added = added_->find(token)) return added->id;
  const int32_t id = model_->vocabulary().find(token);
  if (id < 0) return std::nullopt;
  return id;
}

}  // namespace conclave

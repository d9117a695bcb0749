#include "data/tokenizer/hugging_face/added_tokens.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "base/error.h"
#include "data/tokenizer/context.h"
#include "data/tokenizer/hugging_face/fields.h"
#include "data/tokenizer/unicode.h"
#include "data/tokenizer/utf8.h"

namespace conclave::hugging_face {

AddedTokens::AddedTokens(const Json& json, const Vocabulary& vocabulary, const Normalizer* normalizer) {
  const Json::Array& list = json.as_array();
  for (size_t i = 0; i < list.size(); ++i) {
    with_context(fmt::format("added_tokens {}", i), [&] { add(list[i], vocabulary, normalizer); });
  }
  raw_ = make_matcher(false);
  normalized_ = make_matcher(true);
}

void AddedTokens::add(const Json& json, const Vocabulary& vocabulary, const Normalizer* normalizer) {
  check_keys(json, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}, "token");
  AddedToken token;
  token.content = json.at("content").as_string();
  const int64_t id = json.at("id").as_int();
  CONCLAVE_USER_CHECK(id >= 0 && id < Vocabulary::kMaxSize, "id {} is outside 0 to {}", id, Vocabulary::kMaxSize - 1);
  token.id = static_cast<int32_t>(id);
  if (token.content.empty()) return;
  const int32_t known = vocabulary.find(token.content);
  CONCLAVE_USER_CHECK(known < 0 || known == token.id, "'{}' has id {} here and {} in the model's vocabulary",
                      token.content.substr(0, 60), token.id, known);
  CONCLAVE_USER_CHECK(known >= 0 || !vocabulary.has(token.id), "'{}' has id {}, which is the model's token '{}'",
                      token.content.substr(0, 60), token.id, vocabulary.text(token.id).substr(0, 60));
  token.single_word = flag_or(json, "single_word", false);
  token.lstrip = flag_or(json, "lstrip", false);
  token.rstrip = flag_or(json, "rstrip", false);
  token.special = flag_or(json, "special", false);
  token.normalized = flag_or(json, "normalized", !token.special);
  token.normalized_content = token.content;
  if (token.normalized && normalizer != nullptr) {
    NormalizedText text{token.content};
    normalizer->apply(text);
    token.normalized_content = std::move(text.text);
  }
  const bool fresh = index_of_id_.emplace(token.id, tokens_.size()).second;
  CONCLAVE_USER_CHECK(fresh, "id {} is there twice", token.id);
  tokens_.push_back(std::move(token));
}

AddedTokens::Matcher AddedTokens::make_matcher(bool normalized) const {
  Matcher matcher;
  std::vector<std::pair<std::string_view, int32_t>> entries;
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string_view text = tokens_[i].normalized_content;
    if (tokens_[i].normalized != normalized || text.empty()) continue;
    CONCLAVE_USER_CHECK(seen.insert(text).second, "added_tokens: '{}' is there twice", text.substr(0, 60));
    entries.emplace_back(text, static_cast<int32_t>(i));
    matcher.starts[static_cast<unsigned char>(text[0])] = true;
  }
  if (std::count(std::begin(matcher.starts), std::end(matcher.starts), true) == 1) {
    matcher.single_start =
        static_cast<int>(std::find(std::begin(matcher.starts), std::end(matcher.starts), true) - matcher.starts);
  }
  matcher.trie = ByteTrie(std::move(entries));
  return matcher;
}

size_t AddedTokens::next_start(const Matcher& matcher, std::string_view text, size_t at) {
  if (at >= text.size()) return text.size();
  if (matcher.single_start >= 0) {
    const void* found = std::memchr(text.data() + at, matcher.single_start, text.size() - at);
    return found == nullptr ? text.size() : static_cast<size_t>(static_cast<const char*>(found) - text.data());
  }
  while (at < text.size() && !matcher.starts[static_cast<unsigned char>(text[at])]) ++at;
  return at;
}

// Leftmost, then longest. A token that its flags shut out is passed over whole.
void AddedTokens::split(const Matcher& matcher, std::string_view text, std::vector<Segment>& out) const {
  out.clear();
  size_t done = 0;  // everything before is in `out`
  for (size_t at = matcher.trie.empty() ? text.size() : 0; (at = next_start(matcher, text, at)) < text.size();) {
    const ByteTrie::Match match = matcher.trie.longest(text.substr(at));
    if (match.length == 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(match.value)];
    size_t begin = at, end = at + match.length;
    at = end;
    if (token.single_word) {
      if (begin > 0 && is_word_character(last_character(text.substr(0, begin)))) continue;
      if (end < text.size() && is_word_character(utf8::decode(text.substr(end)).code)) continue;
    }
    if (token.lstrip) begin = std::max(begin - blank_suffix(text.substr(0, begin)), done);
    if (token.rstrip) end += blank_prefix(text.substr(end));
    if (done < begin) out.push_back({done, begin, -1});
    out.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) out.push_back({done, text.size(), -1});
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto found = index_of_id_.find(id);
  return found == index_of_id_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  for (const AddedToken& token : tokens_) {
    if (token.content == content) return &token;
  }
  return nullptr;
}

}  // namespace conclave::hugging_face

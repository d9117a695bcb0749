#include "data/tokenizer/tokenizer.h"

#include "base/error.h"
#include "data/tokenizer/utf8.h"

namespace conclave {
namespace {

// Ids held back at most: a model that produces broken bytes for ever must not stop the stream, nor make it slow.
constexpr size_t kMaxHeld = 32;

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> out;
  encode_to(text, out);
  return out;
}

std::vector<int32_t> Tokenizer::encode_with_special(std::string_view text) const { return encode(text); }

void Tokenizer::check_id(int32_t id) const {
  CONCLAVE_USER_CHECK(
      id >= 0 && id < vocab_size(),
      "[data/tokenizer] token id {} is outside the vocabulary; {} has ids 0 to {}; check that text and model were "
      "made with the same tokenizer",
      id, name(), vocab_size() - 1);
}

std::string StreamDecoder::push(int32_t id) {
  window_.push_back(id);
  std::string text = tokenizer_.decode(window_);
  // What follows may complete a character whose first bytes are here, or join a run of bytes that is broken so far.
  const bool open = text.ends_with(utf8::kReplacementText) || utf8::incomplete_tail(text) > 0;
  const bool full = window_.size() - settled_ >= kMaxHeld;
  if (!full && (open || text.size() <= settled_text_.size())) return "";
  std::string fresh = text.size() > settled_text_.size() ? text.substr(settled_text_.size()) : "";
  // The ids that came last stay as context, since a decoder may treat the start of a text in its own way (drop a blank
  // there). Where these alone show nothing, the older ones stay too.
  const std::span<const int32_t> recent = std::span<const int32_t>(window_).subspan(settled_);
  std::string recent_text = tokenizer_.decode(recent);
  if (recent_text.empty() && window_.size() < 4 * kMaxHeld) {
    recent_text = std::move(text);
  } else {
    window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(settled_));
  }
  settled_ = window_.size();
  settled_text_ = std::move(recent_text);
  return fresh;
}

std::string StreamDecoder::finish() {
  const std::string text = tokenizer_.decode(window_);
  std::string rest = text.size() > settled_text_.size() ? text.substr(settled_text_.size()) : "";
  window_.clear();
  settled_ = 0;
  settled_text_.clear();
  return rest;
}

}  // namespace conclave

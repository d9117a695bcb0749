#include "data/tokenizer/null_tokenizer.h"

#include <charconv>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

constexpr std::string_view kBlanks = " \t\n\r\f\v";

}  // namespace

NullTokenizer::NullTokenizer(int64_t vocab_size, std::optional<int64_t> eod, int64_t pad) : vocab_size_(vocab_size) {
  CONCLAVE_USER_CHECK(vocab_size > 0 && vocab_size <= std::numeric_limits<int32_t>::max(),
                      "[data/tokenizer] NullTokenizer needs a vocabulary of 1 to 2^31-1 ids; got {}; give --vocab-size",
                      vocab_size);
  const int64_t end = eod.value_or(vocab_size - 1);
  CONCLAVE_USER_CHECK(
      end >= 0 && end < vocab_size,
      "[data/tokenizer] --null-tokenizer-eod-id must lie inside the vocabulary; got {} with --vocab-size {}", end,
      vocab_size);
  CONCLAVE_USER_CHECK(
      pad >= -1 && pad < vocab_size,
      "[data/tokenizer] --null-tokenizer-pad-id must be -1 (none) or lie inside the vocabulary; got {} with "
      "--vocab-size {}",
      pad, vocab_size);
  eod_ = static_cast<int32_t>(end);
  if (pad >= 0) pad_ = static_cast<int32_t>(pad);
}

void NullTokenizer::encode_to(std::string_view text, std::vector<int32_t>& out) const {
  size_t i = 0;
  while ((i = text.find_first_not_of(kBlanks, i)) != std::string_view::npos) {
    const size_t end = std::min(text.find_first_of(kBlanks, i), text.size());
    const std::string_view word = text.substr(i, end - i);
    int64_t value = -1;
    const auto result = std::from_chars(word.data(), word.data() + word.size(), value);
    CONCLAVE_USER_CHECK(
        result.ec == std::errc() && result.ptr == word.data() + word.size() && value >= 0 && value < vocab_size_,
        "[data/tokenizer] NullTokenizer takes ids 0 to {} separated by white space; got '{}'; choose another "
        "--tokenizer-type for text",
        vocab_size_ - 1, word.substr(0, 40));
    out.push_back(static_cast<int32_t>(value));
    i = end;
  }
}

std::string NullTokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    check_id(id);
    if (!text.empty()) text += ' ';
    text += std::to_string(id);
  }
  return text;
}

std::string NullTokenizer::token_text(int32_t id) const {
  check_id(id);
  return std::to_string(id);
}

std::optional<int32_t> NullTokenizer::token_id(std::string_view token) const {
  const auto value = parse_int(token);
  if (!value || *value < 0 || *value >= vocab_size_) return std::nullopt;
  return static_cast<int32_t>(*value);
}

}  // namespace conclave

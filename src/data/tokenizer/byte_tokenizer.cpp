#include "data/tokenizer/byte_tokenizer.h"

#include <fmt/core.h>

namespace conclave {

void ByteTokenizer::encode_to(std::string_view text, std::vector<int32_t>& out) const {
  const size_t start = out.size();
  out.resize(start + text.size());
  for (size_t i = 0; i < text.size(); ++i) out[start + i] = static_cast<unsigned char>(text[i]);
}

std::string ByteTokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  text.reserve(ids.size());
  for (const int32_t id : ids) {
    check_id(id);
    if (id != kEod) text += static_cast<char>(id);
  }
  return text;
}

std::string ByteTokenizer::token_text(int32_t id) const {
  check_id(id);
  if (id == kEod) return "<|endoftext|>";
  if (id > 0x20 && id < 0x7F) return std::string(1, static_cast<char>(id));
  return fmt::format("<0x{:02X}>", id);
}

std::optional<int32_t> ByteTokenizer::token_id(std::string_view token) const {
  for (int32_t id = 0; id <= kEod; ++id) {
    if (token_text(id) == token) return id;
  }
  return std::nullopt;
}

}  // namespace conclave

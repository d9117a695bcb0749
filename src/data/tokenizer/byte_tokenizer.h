// Built-in: token = byte. Ids 0 to 255 are the bytes, 256 is the end of document; vocabulary 257. Loses nothing: decode
// gives back any bytes, valid UTF-8 or not; the end of document shows as nothing.
#pragma once

#include "data/tokenizer/tokenizer.h"

namespace conclave {

class ByteTokenizer : public Tokenizer {
 public:
  static constexpr int32_t kEod = 256;
  void encode_to(std::string_view text, std::vector<int32_t>& out) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return 257; }
  std::optional<int32_t> eod() const override { return kEod; }
  /// Printable ASCII as itself, other bytes as "<0x0A>", the end of document as "<|endoftext|>".
  std::string token_text(int32_t id) const override;
  std::optional<int32_t> token_id(std::string_view token) const override;
  std::string_view name() const override { return "ByteTokenizer"; }
};

}  // namespace conclave

// For corpora that are ids already: the text is decimal ids separated by white space.
#pragma once

#include "data/tokenizer/tokenizer.h"

namespace conclave {

class NullTokenizer : public Tokenizer {
 public:
  /// `eod` defaults to vocab_size - 1; `pad` -1 means none. Throws UserError unless all lie inside the vocabulary.
  NullTokenizer(int64_t vocab_size, std::optional<int64_t> eod, int64_t pad);
  /// Throws UserError naming the first word that is no id of the vocabulary.
  void encode_to(std::string_view text, std::vector<int32_t>& out) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return vocab_size_; }
  std::optional<int32_t> eod() const override { return eod_; }
  std::optional<int32_t> pad() const override { return pad_; }
  std::string token_text(int32_t id) const override;
  std::optional<int32_t> token_id(std::string_view token) const override;
  std::string_view name() const override { return "NullTokenizer"; }

 private:
  int64_t vocab_size_;
  int32_t eod_;
  std::optional<int32_t> pad_;
};

}  // namespace conclave

// A tokenizer.json of Hugging Face tokenizers with a byte-pair model: added tokens are cut out, the rest is normalized,
// cut into words and encoded, in the order and with the results of that library. "truncation" and "padding" in the file
// are not applied.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/tokenizer/hugging_face/added_tokens.h"
#include "data/tokenizer/hugging_face/bpe_model.h"
#include "data/tokenizer/hugging_face/decoder.h"
#include "data/tokenizer/hugging_face/normalizer.h"
#include "data/tokenizer/hugging_face/post_processor.h"
#include "data/tokenizer/hugging_face/pre_tokenizer.h"
#include "data/tokenizer/hugging_face/special_tokens.h"
#include "data/tokenizer/scratch_pool.h"
#include "data/tokenizer/tokenizer.h"

namespace conclave {

class HuggingFaceTokenizer : public Tokenizer {
 public:
  /// `path` is a tokenizer.json or a folder that holds one. Throws UserError naming the file, the place in it and what
  /// is damaged or not supported.
  static std::unique_ptr<HuggingFaceTokenizer> load(const std::string& path);
  /// GPT2BPETokenizer: the same from vocab.json and merges.txt, as the GPT-2 release has them; no token is found in the
  /// text as such.
  static std::unique_ptr<HuggingFaceTokenizer> load_gpt2(const std::string& vocab_file, const std::string& merge_file);
  /// From a file's content alone, without what the files beside it say. `what` names it in errors.
  explicit HuggingFaceTokenizer(const Json& json, const std::string& what = "tokenizer.json",
                                const std::string& name = "HuggingFaceTokenizer");

  void encode_to(std::string_view text, std::vector<int32_t>& out) const override;
  std::vector<int32_t> encode_with_special(std::string_view text) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return vocab_size_; }
  std::optional<int32_t> eod() const override { return special_.eos; }
  std::optional<int32_t> bos() const override { return special_.bos; }
  std::optional<int32_t> pad() const override { return special_.pad; }
  std::string token_text(int32_t id) const override;
  std::optional<int32_t> token_id(std::string_view token) const override;
  std::string_view name() const override { return name_; }
  std::vector<std::string> files() const override { return files_; }

 private:
  struct Scratch {
    hugging_face::BpeModel::Scratch model;
    hugging_face::Pieces pieces;
    hugging_face::NormalizedText normalized;
    std::vector<hugging_face::Segment> segments, inner_segments;
    std::string valid_text;
  };
  std::string name_;
  std::unique_ptr<hugging_face::Normalizer> normalizer_;
  hugging_face::PreTokenizers pre_tokenizers_;
  std::unique_ptr<hugging_face::BpeModel> model_;
  std::unique_ptr<hugging_face::AddedTokens> added_;
  std::unique_ptr<hugging_face::Decoder> decoder_;
  hugging_face::Template template_;
  hugging_face::SpecialTokens special_;
  int64_t vocab_size_ = 0;
  std::vector<std::string> files_;
  mutable ScratchPool<Scratch> scratch_;

  void read(const Json& json);
  void find_special_tokens(const std::string& folder);
  void encode_segment(std::string_view text, bool at_origin, Scratch& scratch, std::vector<int32_t>& out) const;
  void encode_words(std::string_view text, bool at_origin, Scratch& scratch, std::vector<int32_t>& out) const;
};

}  // namespace conclave

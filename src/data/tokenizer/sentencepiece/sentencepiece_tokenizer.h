// SentencePiece models (.model) of the kinds unigram and BPE, read and segmented here: the results are those of
// SentencePiece 0.2.x, while the library that distributions carry (0.1.97) settles ties otherwise. User-defined symbols
// are found in the text, control symbols are not.
#pragma once

#include <memory>
#include <string>

#include "data/tokenizer/scratch_pool.h"
#include "data/tokenizer/sentencepiece/model_file.h"
#include "data/tokenizer/sentencepiece/segmenter.h"
#include "data/tokenizer/sentencepiece/text_normalizer.h"
#include "data/tokenizer/tokenizer.h"

namespace conclave {

class SentencePieceTokenizer : public Tokenizer {
 public:
  enum class Special { kNone, kBos };  ///< what encode_with_special puts in front

  /// `path` is a .model file or a folder that holds a tokenizer.model. `name` is the type as the user gave it.
  static std::unique_ptr<SentencePieceTokenizer> load(const std::string& path, const std::string& name,
                                                      Special special);
  /// From a file's content. Throws UserError naming what is damaged or not supported; `what` names the file in it.
  SentencePieceTokenizer(std::string_view bytes, const std::string& what,
                         const std::string& name = "SentencePieceTokenizer", Special special = Special::kNone);

  void encode_to(std::string_view text, std::vector<int32_t>& out) const override;
  std::vector<int32_t> encode_with_special(std::string_view text) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(file_.pieces.size()); }
  std::optional<int32_t> eod() const override { return control(file_.eos_piece); }
  std::optional<int32_t> bos() const override { return control(file_.bos_piece); }
  std::optional<int32_t> pad() const override { return control(file_.pad_piece); }
  std::string token_text(int32_t id) const override;
  std::optional<int32_t> token_id(std::string_view token) const override;
  std::string_view name() const override { return name_; }
  std::vector<std::string> files() const override { return files_; }

 private:
  struct Scratch {
    std::string valid, normalized;
    std::unique_ptr<sentencepiece::Segmenter::Scratch> segmenter;
  };
  std::string name_;
  Special special_;
  sentencepiece::ModelFile file_;
  std::unique_ptr<sentencepiece::PieceTable> table_;
  std::unique_ptr<sentencepiece::TextNormalizer> normalizer_, denormalizer_;
  std::unique_ptr<sentencepiece::Segmenter> segmenter_;
  std::vector<std::string> files_;
  mutable ScratchPool<Scratch> scratch_;

  std::optional<int32_t> control(const std::string& text) const;
  bool starts_with_dropped_blank(int32_t id) const;
  void append_piece(int32_t id, bool at_start, std::string& text) const;
};

}  // namespace conclave

// Cutting a normalized text into pieces: the two kinds of SentencePiece models.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "data/tokenizer/byte_trie.h"
#include "data/tokenizer/sentencepiece/model_file.h"
#include "data/tokenizer/vocabulary.h"

namespace conclave::sentencepiece {

/// What both kinds look things up in. The pieces that texts can be cut into (normal, user-defined, unused), apart from
/// those that are reserved (control, unknown, bytes), because the same text may be both.
struct PieceTable {
  const ModelFile* model = nullptr;
  Vocabulary pieces, reserved;
  ByteTrie user_defined;      ///< values: ids
  int32_t unknown = -1;       ///< -1 only where byte_fallback
  int32_t byte_id[256] = {};  ///< where byte_fallback

  /// `file` must outlive this object. Throws UserError naming what is damaged.
  explicit PieceTable(const ModelFile& file);
  PieceType type(int32_t id) const { return model->pieces[static_cast<size_t>(id)].type; }
};

/// Writes ids: where a piece is unknown its bytes, or one unknown token for a run of unknown pieces.
class IdWriter {
 public:
  IdWriter(const PieceTable& table, std::vector<int32_t>& out) : table_(table), out_(out), start_(out.size()) {}
  void piece(int32_t id) {
    if (id == table_.unknown && out_.size() > start_ && out_.back() == id) return;
    out_.push_back(id);
  }
  void unknown(std::string_view text) {
    if (!table_.model->byte_fallback) return piece(table_.unknown);
    for (const char c : text) out_.push_back(table_.byte_id[static_cast<unsigned char>(c)]);
  }

 private:
  const PieceTable& table_;
  std::vector<int32_t>& out_;
  size_t start_;
};

class Segmenter {
 public:
  /// One thread's working memory.
  struct Scratch {
    virtual ~Scratch() = default;
  };
  virtual ~Segmenter() = default;
  virtual std::unique_ptr<Scratch> make_scratch() const = 0;
  /// Appends the ids of `text`, which is valid UTF-8.
  virtual void encode(std::string_view text, Scratch& scratch, std::vector<int32_t>& out) const = 0;
};

/// `table` must outlive the segmenter. Throws UserError for a kind that is not supported.
std::unique_ptr<Segmenter> make_segmenter(const PieceTable& table);
std::unique_ptr<Segmenter> make_unigram_segmenter(const PieceTable& table);
std::unique_ptr<Segmenter> make_bpe_segmenter(const PieceTable& table);

}  // namespace conclave::sentencepiece

#include "data/tokenizer/sentencepiece/segmenter.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "data/tokenizer/unsupported.h"

namespace conclave::sentencepiece {
namespace {

// "<0x41>" -> 0x41, or -1.
int byte_of_piece(const std::string& text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  const size_t high = kDigits.find(text[3]), low = kDigits.find(text[4]);
  return high == std::string_view::npos || low == std::string_view::npos ? -1 : static_cast<int>(high * 16 + low);
}

}  // namespace

PieceTable::PieceTable(const ModelFile& file) : model(&file) {
  std::vector<std::pair<std::string_view, int32_t>> kept;
  std::fill(std::begin(byte_id), std::end(byte_id), -1);
  for (size_t i = 0; i < file.pieces.size(); ++i) {
    const Piece& piece = file.pieces[i];
    const auto id = static_cast<int32_t>(i);
    const bool in_text =
        piece.type == PieceType::kNormal || piece.type == PieceType::kUserDefined || piece.type == PieceType::kUnused;
    (in_text ? pieces : reserved).add(piece.text, id);
    if (piece.type == PieceType::kUserDefined) kept.emplace_back(piece.text, id);
    if (piece.type == PieceType::kUnknown) {
      CONCLAVE_USER_CHECK(unknown < 0, "pieces {} and {} are both the unknown token", unknown, id);
      unknown = id;
    }
    if (piece.type == PieceType::kByte) {
      const int byte = byte_of_piece(piece.text);
      CONCLAVE_USER_CHECK(byte >= 0 && file.byte_fallback, "byte piece '{}' {}", piece.text.substr(0, 60),
                          byte < 0 ? "is not of the form <0x41>" : "is there although byte_fallback is off");
      byte_id[byte] = id;
    }
  }
  CONCLAVE_USER_CHECK(unknown >= 0 || file.byte_fallback, "no piece is the unknown token");
  for (int b = 0; b < 256; ++b) {
    CONCLAVE_USER_CHECK(!file.byte_fallback || byte_id[b] >= 0,
                        "byte_fallback is on, but the piece <0x{:02X}> is missing", b);
  }
  user_defined = ByteTrie(std::move(kept));
}

std::unique_ptr<Segmenter> make_segmenter(const PieceTable& table) {
  switch (table.model->type) {
    case ModelType::kUnigram:
      return make_unigram_segmenter(table);
    case ModelType::kBpe:
      return make_bpe_segmenter(table);
    case ModelType::kWord:
      throw UnsupportedTokenizer("model type 'word' is not supported; known are unigram and bpe");
    default:
      throw UnsupportedTokenizer("model type 'char' is not supported; known are unigram and bpe");
  }
}

}  // namespace conclave::sentencepiece

// A SentencePiece model file (.model): the parts of its protocol buffer that encoding and decoding need. Kudo,
// Richardson (2018), "SentencePiece: A simple and language independent subword tokenizer and detokenizer".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace conclave::sentencepiece {

enum class PieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
enum class ModelType { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };

struct Piece {
  std::string text;  ///< valid UTF-8, not empty; blanks as U+2581
  float score = 0;
  PieceType type = PieceType::kNormal;
};

struct NormalizerSpec {
  std::string charsmap;  ///< compiled rules, see charsmap.h; empty: none
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

struct ModelFile {
  std::vector<Piece> pieces;  ///< index = id
  ModelType type = ModelType::kUnigram;
  bool byte_fallback = false;
  bool treat_whitespace_as_suffix = false;
  std::string unk_surface = " \xE2\x81\x87 ";  ///< what the unknown token decodes to
  std::string bos_piece = "<s>", eos_piece = "</s>", pad_piece = "<pad>";
  NormalizerSpec normalizer;
  std::optional<NormalizerSpec> denormalizer;
};

/// Throws UserError naming what is damaged. Fields that are not needed are passed over.
ModelFile parse_model(std::string_view bytes);

}  // namespace conclave::sentencepiece

#include "data/tokenizer/sentencepiece/model_file.h"

#include <cmath>

#include "base/error.h"
#include "data/tokenizer/sentencepiece/wire.h"
#include "data/tokenizer/utf8.h"
#include "data/tokenizer/vocabulary.h"

namespace conclave::sentencepiece {
namespace {

std::string as_text(const WireField& field, const char* what) {
  const std::string_view text = as_bytes(field);
  CONCLAVE_USER_CHECK(utf8::is_valid(text), "{} is not valid UTF-8", what);
  return std::string(text);
}

Piece parse_piece(std::string_view message, size_t id) {
  Piece piece;
  WireReader reader(message);
  for (WireField field; reader.next(field);) {
    if (field.number == 1) {
      piece.text = as_text(field, "a piece");
    } else if (field.number == 2) {
      piece.score = as_float(field);
    } else if (field.number == 3) {
      const uint64_t type = as_varint(field);
      CONCLAVE_USER_CHECK(type >= 1 && type <= 6, "piece {} has the unknown type {}", id, type);
      piece.type = static_cast<PieceType>(type);
    }
  }
  CONCLAVE_USER_CHECK(!piece.text.empty(), "piece {} is empty", id);
  CONCLAVE_USER_CHECK(std::isfinite(piece.score), "piece {} '{}' has the score {}", id, piece.text.substr(0, 60),
                      piece.score);
  return piece;
}

void parse_trainer_spec(std::string_view message, ModelFile& model) {
  WireReader reader(message);
  for (WireField field; reader.next(field);) {
    switch (field.number) {
      case 3: {
        const uint64_t type = as_varint(field);
        CONCLAVE_USER_CHECK(type >= 1 && type <= 4, "the unknown model type {}", type);
        model.type = static_cast<ModelType>(type);
        break;
      }
      case 24:
        model.treat_whitespace_as_suffix = as_flag(field);
        break;
      case 35:
        model.byte_fallback = as_flag(field);
        break;
      case 44:
        model.unk_surface = as_text(field, "unk_surface");
        break;
      case 46:
        model.bos_piece = as_text(field, "bos_piece");
        break;
      case 47:
        model.eos_piece = as_text(field, "eos_piece");
        break;
      case 48:
        model.pad_piece = as_text(field, "pad_piece");
        break;
      default:
        break;
    }
  }
}

void parse_normalizer_spec(std::string_view message, NormalizerSpec& spec) {
  WireReader reader(message);
  for (WireField field; reader.next(field);) {
    if (field.number == 2) spec.charsmap = as_bytes(field);
    if (field.number == 3) spec.add_dummy_prefix = as_flag(field);
    if (field.number == 4) spec.remove_extra_whitespaces = as_flag(field);
    if (field.number == 5) spec.escape_whitespaces = as_flag(field);
  }
}

}  // namespace

ModelFile parse_model(std::string_view bytes) {
  ModelFile model;
  WireReader reader(bytes);
  for (WireField field; reader.next(field);) {
    if (field.number == 1) {
      CONCLAVE_USER_CHECK(static_cast<int64_t>(model.pieces.size()) < Vocabulary::kMaxSize,
                          "it has more than {} pieces", Vocabulary::kMaxSize);
      model.pieces.push_back(parse_piece(as_bytes(field), model.pieces.size()));
    } else if (field.number == 2) {
      parse_trainer_spec(as_bytes(field), model);
    } else if (field.number == 3) {
      parse_normalizer_spec(as_bytes(field), model.normalizer);
    } else if (field.number == 5) {
      if (!model.denormalizer) model.denormalizer.emplace();
      parse_normalizer_spec(as_bytes(field), *model.denormalizer);
    }
  }
  CONCLAVE_USER_CHECK(!model.pieces.empty(), "it holds no pieces; is this a SentencePiece model?");
  return model;
}

}  // namespace conclave::sentencepiece

#include "data/tokenizer/sentencepiece/sentencepiece_tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/tokenizer/context.h"
#include "data/tokenizer/space_mark.h"
#include "data/tokenizer/utf8.h"

namespace conclave {

using sentencepiece::PieceType;
using sentencepiece::TextNormalizer;

namespace {

const ByteTrie kNoTexts;

// Bytes as text; one that is part of no character becomes U+FFFD.
void append_bytes(const std::string& bytes, std::string& text) {
  for (std::string_view rest = bytes; !rest.empty();) {
    const utf8::Character c = utf8::decode(rest);
    const size_t length = c.valid ? c.length : 1;
    text += c.valid ? rest.substr(0, length) : utf8::kReplacementText;
    rest.remove_prefix(length);
  }
}

}  // namespace

std::unique_ptr<SentencePieceTokenizer> SentencePieceTokenizer::load(const std::string& path, const std::string& name,
                                                                     Special special) {
  const bool folder = is_directory(path);
  const std::string file = folder ? fmt::format("{}/tokenizer.model", path) : path;
  CONCLAVE_USER_CHECK(
      !folder || file_exists(file),
      "[data/tokenizer] the folder '{}' holds no tokenizer.model; give --tokenizer-model a SentencePiece model (a "
      "tokenizer.json is for HuggingFaceTokenizer)",
      path);
  auto tokenizer = std::make_unique<SentencePieceTokenizer>(read_file(file), file, name, special);
  tokenizer->files_.push_back(file);
  return tokenizer;
}

SentencePieceTokenizer::SentencePieceTokenizer(std::string_view bytes, const std::string& what, const std::string& name,
                                               Special special)
    : name_(name), special_(special) {
  using namespace sentencepiece;
  with_context(fmt::format("[data/tokenizer] {}", what), [&] {
    file_ = parse_model(bytes);
    table_ = std::make_unique<PieceTable>(file_);
    const auto dummy =
        file_.treat_whitespace_as_suffix ? TextNormalizer::DummyBlank::kBehind : TextNormalizer::DummyBlank::kInFront;
    normalizer_ = std::make_unique<TextNormalizer>(file_.normalizer, dummy, table_->user_defined);
    if (file_.denormalizer && !file_.denormalizer->charsmap.empty()) {
      denormalizer_ =
          std::make_unique<TextNormalizer>(*file_.denormalizer, TextNormalizer::DummyBlank::kInFront, kNoTexts);
    }
    segmenter_ = make_segmenter(*table_);
  });
}

void SentencePieceTokenizer::encode_to(std::string_view text, std::vector<int32_t>& out) const {
  const auto scratch = scratch_.take();
  if (scratch->segmenter == nullptr) scratch->segmenter = segmenter_->make_scratch();
  if (!utf8::is_valid(text)) {
    scratch->valid.clear();
    utf8::append_replacing_broken(scratch->valid, text);
    text = scratch->valid;
  }
  normalizer_->apply(text, scratch->normalized);
  segmenter_->encode(scratch->normalized, *scratch->segmenter, out);
}

std::vector<int32_t> SentencePieceTokenizer::encode_with_special(std::string_view text) const {
  std::vector<int32_t> ids;
  if (special_ == Special::kBos && bos()) ids.push_back(*bos());
  encode_to(text, ids);
  return ids;
}

std::string SentencePieceTokenizer::decode(std::span<const int32_t> ids) const {
  std::string text, bytes;
  // The blank that was put in front of the text goes again: from the first piece that shows, or each until one shows.
  bool at_start = true;
  for (const int32_t id : ids) {
    check_id(id);
    if (table_->type(id) == PieceType::kByte) {
      bytes +=
          static_cast<char>(std::find(std::begin(table_->byte_id), std::end(table_->byte_id), id) - table_->byte_id);
      continue;
    }
    append_bytes(bytes, text);
    bytes.clear();
    if (!text.empty()) at_start = false;
    const bool stripped = at_start && starts_with_dropped_blank(id);
    append_piece(id, at_start, text);
    if (stripped && !file_.normalizer.remove_extra_whitespaces) at_start = false;
  }
  append_bytes(bytes, text);
  if (denormalizer_ == nullptr) return text;
  std::string result;
  denormalizer_->apply(text, result);
  return result;
}

bool SentencePieceTokenizer::starts_with_dropped_blank(int32_t id) const {
  const PieceType type = table_->type(id);
  return type != PieceType::kControl && type != PieceType::kUnknown &&
         (file_.normalizer.add_dummy_prefix || file_.normalizer.remove_extra_whitespaces) &&
         file_.pieces[static_cast<size_t>(id)].text.starts_with(kSpaceMark);
}

void SentencePieceTokenizer::append_piece(int32_t id, bool at_start, std::string& text) const {
  const PieceType type = table_->type(id);
  if (type == PieceType::kControl) return;
  if (type == PieceType::kUnknown) {
    text += file_.unk_surface;
    return;
  }
  std::string_view piece = file_.pieces[static_cast<size_t>(id)].text;
  if (at_start && starts_with_dropped_blank(id)) piece.remove_prefix(kSpaceMark.size());
  text += replace_all(piece, kSpaceMark, " ");
}

std::optional<int32_t> SentencePieceTokenizer::control(const std::string& text) const {
  const int32_t id = table_->reserved.find(text);
  if (id < 0 || table_->type(id) != PieceType::kControl) return std::nullopt;
  return id;
}

std::string SentencePieceTokenizer::token_text(int32_t id) const {
  check_id(id);
  return file_.pieces[static_cast<size_t>(id)].text;
}

std::optional<int32_t> SentencePieceTokenizer::token_id(std::string_view token) const {
  int32_t id = table_->reserved.find(token);
  if (id < 0) id = table_->pieces.find(token);
  if (id < 0) return std::nullopt;
  return id;
}

}  // namespace conclave

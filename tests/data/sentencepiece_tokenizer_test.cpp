#include "data/tokenizer/sentencepiece/sentencepiece_tokenizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/tokenizer/unsupported.h"

namespace conclave {
namespace {

using Ids = std::vector<int32_t>;
using sentencepiece::PieceType;

// Writes the protocol buffer of a model, field by field.
class Message {
 public:
  Message& varint(int field, uint64_t value) {
    number(static_cast<uint64_t>(field) << 3);
    number(value);
    return *this;
  }
  Message& bytes(int field, const std::string& value) {
    number(static_cast<uint64_t>(field) << 3 | 2);
    number(value.size());
    text += value;
    return *this;
  }
  Message& real(int field, float value) {
    number(static_cast<uint64_t>(field) << 3 | 5);
    char raw[4];
    std::memcpy(raw, &value, 4);
    text.append(raw, 4);
    return *this;
  }
  std::string text;

 private:
  void number(uint64_t value) {
    for (; value >= 0x80; value >>= 7) text += static_cast<char>(value | 0x80);
    text += static_cast<char>(value);
  }
};

struct PieceSpec {
  std::string text;
  float score;
  PieceType type = PieceType::kNormal;
};

struct Options {
  int model_type = 1;
  bool dummy_prefix = true, squeeze = true, byte_fallback = false;
  std::string charsmap;
};

std::string model(const std::vector<PieceSpec>& pieces, const Options& options = {}) {
  Message file;
  const auto add = [&](const PieceSpec& piece) {
    Message message;
    message.bytes(1, piece.text).real(2, piece.score).varint(3, static_cast<uint64_t>(piece.type));
    file.bytes(1, message.text);
  };
  add({"<unk>", 0, PieceType::kUnknown});
  add({"<s>", 0, PieceType::kControl});
  add({"</s>", 0, PieceType::kControl});
  for (const PieceSpec& piece : pieces) add(piece);
  Message trainer, normalizer;
  trainer.varint(3, static_cast<uint64_t>(options.model_type)).varint(35, options.byte_fallback ? 1 : 0);
  normalizer.varint(3, options.dummy_prefix ? 1 : 0).varint(4, options.squeeze ? 1 : 0);
  if (!options.charsmap.empty()) normalizer.bytes(2, options.charsmap);
  return file.bytes(2, trainer.text).bytes(3, normalizer.text).text;
}

SentencePieceTokenizer make(const std::string& bytes) { return SentencePieceTokenizer(bytes, "test"); }

std::string error_of(const std::string& bytes) {
  try {
    make(bytes);
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

const std::vector<PieceSpec> kPieces = {{"▁", -3},  {"a", -2},  {"b", -2},
                                        {"ab", -3}, {"▁a", -4}, {"▁ab", -4.5F}};  // ids 3 to 8

TEST(SentencePiece, UnigramTakesTheBestTotal) {
  const auto tokenizer = make(model(kPieces));
  EXPECT_EQ(tokenizer.encode("ab"), (Ids{8}));
  EXPECT_EQ(tokenizer.encode("  ab   a "), (Ids{8, 7}));
  EXPECT_EQ(tokenizer.encode(""), Ids{});
  EXPECT_EQ(tokenizer.encode("   "), Ids{});
  EXPECT_EQ(tokenizer.encode("axxyb"), (Ids{7, 0, 5}));  // a run of unknown characters is one token
  EXPECT_EQ(tokenizer.decode(Ids{8, 7}), "ab a");
  EXPECT_EQ(tokenizer.decode(Ids{1, 8, 2}), "ab");
  EXPECT_EQ(tokenizer.decode(Ids{0}), " \u2047 ");
  EXPECT_EQ(tokenizer.eod(), 2);
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.pad(), std::nullopt);
  EXPECT_EQ(tokenizer.token_text(8), "▁ab");
  EXPECT_EQ(tokenizer.token_id("▁ab"), 8);
}

TEST(SentencePiece, BpeMergesByScore) {
  Options options;
  options.model_type = 2;
  options.squeeze = false;
  const auto tokenizer =
      make(model({{"▁", -9}, {"a", -8}, {"b", -7}, {"aa", -1}, {"ab", -2}, {"▁a", -3}, {"cd", -4}}, options));
  EXPECT_EQ(tokenizer.encode("ab"), (Ids{3, 7}));
  EXPECT_EQ(tokenizer.encode("aab"), (Ids{3, 6, 5}));
  EXPECT_EQ(tokenizer.encode("cd"), (Ids{3, 9}));  // characters that are no pieces may still make one
  EXPECT_EQ(tokenizer.encode("a  c"), (Ids{8, 3, 3, 0}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a  b")), "a  b");
}

TEST(SentencePiece, BpeTakesUnusedPiecesApart) {
  Options options;
  options.model_type = 2;
  options.dummy_prefix = false;
  const auto tokenizer =
      make(model({{"a", -8}, {"b", -7}, {"c", -6}, {"ab", -1}, {"abc", -2, PieceType::kUnused}}, options));
  EXPECT_EQ(tokenizer.encode("abc"), (Ids{6, 5}));
}

TEST(SentencePiece, UserDefinedSymbolsAreFoundAndControlSymbolsAreNot) {
  for (const int type : {1, 2}) {
    Options options;
    options.model_type = type;
    std::vector<PieceSpec> pieces = kPieces;
    pieces.push_back({"bab", 0, PieceType::kUserDefined});  // 9
    const auto tokenizer = make(model(pieces, options));
    EXPECT_EQ(tokenizer.encode("abab"), (Ids{7, 9})) << type;
    EXPECT_EQ(tokenizer.encode("<s>"), (Ids{3, 0})) << type;
  }
}

TEST(SentencePiece, BytesStandForUnknownCharacters) {
  std::vector<PieceSpec> pieces = kPieces;
  for (int b = 0; b < 256; ++b) {
    constexpr char kDigits[] = "0123456789ABCDEF";
    pieces.push_back({std::string("<0x") + kDigits[b / 16] + kDigits[b % 16] + ">", 0, PieceType::kByte});
  }
  Options options;
  for (const int type : {1, 2}) {
    options.model_type = type;
    options.byte_fallback = true;
    const auto tokenizer = make(model(pieces, options));
    EXPECT_EQ(tokenizer.encode("aé"), (Ids{7, 9 + 0xC3, 9 + 0xA9})) << type;
    EXPECT_EQ(tokenizer.decode(Ids{7, 9 + 0xC3, 9 + 0xA9, 4}), "aéa");
    EXPECT_EQ(tokenizer.decode(Ids{9 + 0xC3, 4, 9 + 0xF0, 9 + 0x9F}), "\uFFFDa\uFFFD\uFFFD");
    EXPECT_EQ(tokenizer.encode("<0xC3>"), tokenizer.encode("<0xC3>"));
    EXPECT_NE(tokenizer.encode("<0xC3>").size(), 1u);
    EXPECT_EQ(tokenizer.encode("a\xC3"), tokenizer.encode("a\uFFFD"));
  }
  pieces.pop_back();
  EXPECT_NE(error_of(model(pieces, options)).find("the piece <0xFF> is missing"), std::string::npos);
}

TEST(SentencePiece, LlamaPutsTheStartTokenInFront) {
  const SentencePieceTokenizer tokenizer(model(kPieces), "test", "Llama2Tokenizer",
                                         SentencePieceTokenizer::Special::kBos);
  EXPECT_EQ(tokenizer.encode_with_special("ab"), (Ids{1, 8}));
  EXPECT_EQ(tokenizer.encode("ab"), (Ids{8}));
  EXPECT_EQ(tokenizer.name(), "Llama2Tokenizer");
}

TEST(SentencePiece, LongTextsTakeNoQuadraticTime) {
  // With steps in the square of the length this would run for hours.
  for (const int type : {1, 2}) {
    Options options;
    options.model_type = type;
    const auto tokenizer = make(model(kPieces, options));
    std::string text;
    for (int i = 0; i < 500'000; ++i) text += "ab";
    EXPECT_EQ(tokenizer.encode(text).size(), 500'000u) << type;
  }
}

TEST(SentencePiece, SaysWhatIsDamaged) {
  EXPECT_NE(error_of("").find("holds no pieces"), std::string::npos);
  EXPECT_NE(error_of("{\"a\": 1}").find("SentencePiece model?"), std::string::npos) << error_of("{\"a\": 1}");
  EXPECT_NE(error_of(model({{"a", 0}, {"a", 0}})).find("token 'a' is there twice"), std::string::npos);
  EXPECT_NE(error_of(model({{"\xFF", 0}})).find("not valid UTF-8"), std::string::npos);
  EXPECT_NE(error_of(model({{"", 0}})).find("piece 3 is empty"), std::string::npos);
  EXPECT_NE(error_of(model({{"a", NAN}})).find("has the score"), std::string::npos);
  Options options;
  options.model_type = 2;
  EXPECT_NE(error_of(model({{std::string(2000, 'a'), 0}}, options)).find("2000 bytes long"), std::string::npos);
  options.model_type = 4;
  EXPECT_THROW(make(model(kPieces, options)), UnsupportedTokenizer);
  options = {};
  for (const std::string& rules :
       {std::string("ab"), std::string("\x04\0\0\0\0\0\0\0", 8), std::string("\xFF\xFF\xFF\xFF\0\0\0\0\0", 9)}) {
    options.charsmap = rules;
    EXPECT_NE(error_of(model(kPieces, options)).find("character rules are"), std::string::npos);
  }
}

TEST(SentencePiece, TruncatedAndFlippedFilesNeverCrash) {
  std::string file = read_file(CONCLAVE_GOLDEN_DIR "/tokenizer/sp_unigram_nmt_nfkc/tokenizer.model");
  int good = 0, bad = 0;
  const auto attempt = [&](const std::string& bytes) {
    try {
      const auto tokenizer = make(bytes);
      tokenizer.decode(tokenizer.encode("Ⅷ ａ and\u200Bmore éé\u3000text 0123"));
      ++good;
    } catch (const UserError&) {
      ++bad;
    }
  };
  for (size_t size = 0; size < file.size(); size += 1 + size / 8) attempt(file.substr(0, size));
  for (size_t at = 0; at < file.size(); at += 9973) {
    file[at] = static_cast<char>(file[at] ^ 0xA5);
    attempt(file);
    file[at] = static_cast<char>(file[at] ^ 0xA5);
  }
  EXPECT_GT(bad, 10);
  EXPECT_GT(good, 0);
}

}  // namespace
}  // namespace conclave

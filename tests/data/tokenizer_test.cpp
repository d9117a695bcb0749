#include "data/tokenizer/tokenizer.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "data/tokenizer/utf8.h"

namespace conclave {
namespace {

using Ids = std::vector<int32_t>;

std::unique_ptr<Tokenizer> make(const std::string& type) {
  TokenizerConfig config;
  config.type = type;
  return make_tokenizer(config);
}

std::unique_ptr<Tokenizer> make_null(int64_t vocab_size) {
  TokenizerConfig config;
  config.type = "NullTokenizer";
  config.vocab_size = vocab_size;
  return make_tokenizer(config);
}

std::string user_error(const auto& action) {
  try {
    action();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Utf8, RecognisesWhatIsBroken) {
  for (const char* good :
       {"", "a", "\xC2\x80", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(utf8::is_valid(good)) << good;
  }
  for (const char* bad : {"\x80", "\xC1\xBF", "\xC2", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                          "\xF4\x90\x80\x80", "\xF5", "\xFF", "12345678\xC2", "\xE2\x82"}) {
    EXPECT_FALSE(utf8::is_valid(bad)) << bad;
  }
}

TEST(Utf8, ReplacesMaximalSubparts) {
  std::string out;
  // The example of the Unicode standard, table 3-8.
  utf8::append_replacing_broken(out, "\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64");
  const std::string r(utf8::kReplacementText);
  EXPECT_EQ(out, fmt::format("a{0}{0}{0}b{0}c{0}{0}d", r));
}

TEST(Utf8, FindsTheIncompleteTail) {
  EXPECT_EQ(utf8::incomplete_tail(""), 0u);
  EXPECT_EQ(utf8::incomplete_tail("a"), 0u);
  EXPECT_EQ(utf8::incomplete_tail("a\xC3"), 1u);
  EXPECT_EQ(utf8::incomplete_tail("\xC3\xA9"), 0u);
  EXPECT_EQ(utf8::incomplete_tail("\xF0\x9F\x98"), 3u);
  EXPECT_EQ(utf8::incomplete_tail("\x80\x80"), 0u);
  EXPECT_EQ(utf8::incomplete_tail("\xED\xA0"), 0u);
}

TEST(ByteTokenizer, KeepsEveryByte) {
  const auto tokenizer = make("ByteTokenizer");
  EXPECT_EQ(tokenizer->vocab_size(), 257);
  EXPECT_EQ(tokenizer->eod(), 256);
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const Ids ids = tokenizer->encode(all);
  ASSERT_EQ(ids.size(), 256u);
  for (int i = 0; i < 256; ++i) EXPECT_EQ(ids[static_cast<size_t>(i)], i);
  EXPECT_EQ(tokenizer->decode(ids), all);
  EXPECT_EQ(tokenizer->decode(Ids{72, 105, 256}), "Hi");
  EXPECT_EQ(tokenizer->token_text(10), "<0x0A>");
  EXPECT_EQ(tokenizer->token_id("<|endoftext|>"), 256);
  EXPECT_NE(user_error([&] { tokenizer->decode(Ids{257}); }).find("token id 257 is outside"), std::string::npos);
  EXPECT_NE(user_error([&] { tokenizer->decode(Ids{-1}); }).find("token id -1 is outside"), std::string::npos);
}

TEST(ByteTokenizer, AppendsToWhatIsThere) {
  const auto tokenizer = make("ByteTokenizer");
  Ids ids{7};
  tokenizer->encode_to("a", ids);
  tokenizer->encode_to("", ids);
  EXPECT_EQ(ids, (Ids{7, 97}));
}

TEST(NullTokenizer, ReadsIds) {
  const auto tokenizer = make_null(100);
  EXPECT_EQ(tokenizer->encode(" 1\t2\n 99 0 "), (Ids{1, 2, 99, 0}));
  EXPECT_EQ(tokenizer->encode(""), Ids{});
  EXPECT_EQ(tokenizer->decode(Ids{1, 2, 99}), "1 2 99");
  EXPECT_EQ(tokenizer->eod(), 99);
  EXPECT_EQ(tokenizer->pad(), std::nullopt);
  for (const char* bad : {"100", "-1", "1.5", "x", "99999999999999999999", "1,2"}) {
    EXPECT_NE(user_error([&] { tokenizer->encode(bad); }).find("takes ids 0 to 99"), std::string::npos) << bad;
  }
}

TEST(NullTokenizer, ChecksItsOptions) {
  TokenizerConfig config;
  config.type = "NullTokenizer";
  EXPECT_NE(user_error([&] { make_tokenizer(config); }).find("give --vocab-size"), std::string::npos);
  config.vocab_size = 10;
  config.null_tokenizer_eod_id = 3;
  config.null_tokenizer_pad_id = 4;
  const auto tokenizer = make_tokenizer(config);
  EXPECT_EQ(tokenizer->eod(), 3);
  EXPECT_EQ(tokenizer->pad(), 4);
  config.null_tokenizer_eod_id = 10;
  EXPECT_NE(user_error([&] { make_tokenizer(config); }).find("--null-tokenizer-eod-id"), std::string::npos);
}

TEST(MakeTokenizer, NamesWhatItCannotDo) {
  EXPECT_NE(user_error([&] { make(""); }).find("--tokenizer-type is missing"), std::string::npos);
  EXPECT_NE(
      user_error([&] { make("TikTokenizer"); }).find("TikTokenizer is not available yet: save it as a tokenizer.json"),
      std::string::npos);
  EXPECT_NE(user_error([&] { make("ByteTokeniser"); }).find("did you mean ByteTokenizer?"), std::string::npos);
}

TEST(StreamDecoder, GivesWholeCharacters) {
  const auto tokenizer = make("ByteTokenizer");
  const std::string text = "a\xC3\xA9\xF0\x9F\x98\x80!";
  StreamDecoder stream(*tokenizer);
  std::vector<std::string> pieces;
  for (const int32_t id : tokenizer->encode(text)) pieces.push_back(stream.push(id));
  EXPECT_EQ(pieces, (std::vector<std::string>{"a", "", "\xC3\xA9", "", "", "", "\xF0\x9F\x98\x80", "!"}));
  EXPECT_EQ(stream.finish(), "");
}

TEST(StreamDecoder, NeverHoldsBackForEver) {
  const auto tokenizer = make("ByteTokenizer");
  StreamDecoder stream(*tokenizer);
  std::string out;
  for (int i = 0; i < 1000; ++i) out += stream.push(0xF0);
  EXPECT_GT(out.size(), 900u);
  out += stream.finish();
  EXPECT_EQ(out, std::string(1000, '\xF0'));
}

TEST(StreamDecoder, GivesTheWholeTextOfEveryGoldenCase) {
  const std::string root = CONCLAVE_GOLDEN_DIR "/tokenizer/";
  for (const char* name :
       {"gpt2", "llama2_byte_fallback", "llama3_ignore_merges", "sp_bpe_identity", "sp_unigram_nmt_nfkc"}) {
    TokenizerConfig config;
    const bool json = file_exists(root + name + "/tokenizer.json");
    config.type = json ? "HuggingFaceTokenizer" : "SentencePieceTokenizer";
    config.model = root + name;
    const auto tokenizer = make_tokenizer(config);
    const std::string cases = read_file(root + name + "/cases.jsonl");
    int checked = 0;
    for (const std::string& line : split(cases, '\n')) {
      if (line.empty()) continue;
      const std::string text = Json::parse(line, name).at("decoded").as_string();
      if (text.size() > 2000) continue;
      const Ids ids = tokenizer->encode(text);
      StreamDecoder stream(*tokenizer);
      std::string all;
      for (const int32_t id : ids) {
        const std::string piece = stream.push(id);
        EXPECT_TRUE(utf8::is_valid(piece)) << name << ": " << text;
        all += piece;
      }
      all += stream.finish();
      EXPECT_EQ(all, tokenizer->decode(ids)) << name << ": " << text;
      ++checked;
    }
    EXPECT_GT(checked, 300) << name;
  }
}

}  // namespace
}  // namespace conclave

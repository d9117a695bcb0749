#include "data/tokenizer/hugging_face/hugging_face_tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/tokenizer/unsupported.h"

namespace conclave {
namespace {

using Ids = std::vector<int32_t>;

// A vocabulary of letters, some pairs, and the marks that byte-level and SentencePiece-like files use.
const char* const kLetters =
    R"("a":0,"b":1,"c":2,"ab":3,"abc":4,"Ġ":5,"Ġa":6,"▁":7,"▁a":8,"▁▁":9,"<unk>":10,"é":11,"Ã":12,"©":13,"Ċ":14,"1":15)";
const char* const kMerges = R"(["a b","ab c","Ġ a",["▁","a"],["▁","▁"]])";

struct Parts {
  std::string added = "[]", normalizer = "null", pre_tokenizer = "null", post_processor = "null", decoder = "null";
  std::string model_extra;  // e.g. R"("unk_token":"<unk>",)"
  std::string vocab = kLetters, merges = kMerges;
};

std::string file_of(const Parts& parts) {
  return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":)" + parts.added + R"(,"normalizer":)" +
         parts.normalizer + R"(,"pre_tokenizer":)" + parts.pre_tokenizer + R"(,"post_processor":)" +
         parts.post_processor + R"(,"decoder":)" + parts.decoder + R"(,"model":{"type":"BPE",)" + parts.model_extra +
         R"("vocab":{)" + parts.vocab + R"(},"merges":)" + parts.merges + "}}";
}

HuggingFaceTokenizer make(const Parts& parts) { return HuggingFaceTokenizer(Json::parse(file_of(parts), "test")); }

std::string error_of(const Parts& parts) {
  try {
    make(parts);
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

std::string added(int id, const std::string& content, const std::string& flags) {
  return R"({"id":)" + std::to_string(id) + R"(,"content":")" + content + R"(","special":true,"normalized":false)" +
         flags + "}";
}

const char* const kByteLevel = R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";

TEST(HuggingFaceTokenizer, MergesByRank) {
  const auto tokenizer = make({});
  EXPECT_EQ(tokenizer.encode("abc"), (Ids{4}));
  EXPECT_EQ(tokenizer.encode("abab"), (Ids{3, 3}));
  EXPECT_EQ(tokenizer.encode("bcabca"), (Ids{1, 2, 4, 0}));
  EXPECT_EQ(tokenizer.encode(""), Ids{});
  EXPECT_EQ(tokenizer.vocab_size(), 16);
}

TEST(HuggingFaceTokenizer, UnknownCharactersVanishOrBecomeTheUnknownToken) {
  EXPECT_EQ(make({}).encode("axxb"), (Ids{3}));  // without an unknown token the letters around it meet
  Parts parts;
  parts.model_extra = R"("unk_token":"<unk>","fuse_unk":false,)";
  EXPECT_EQ(make(parts).encode("axxb"), (Ids{0, 10, 10, 1}));
  parts.model_extra = R"("unk_token":"<unk>","fuse_unk":true,)";
  EXPECT_EQ(make(parts).encode("axxb"), (Ids{0, 10, 1}));
}

TEST(HuggingFaceTokenizer, MarksMeetWhereWhatStoodBetweenThemVanishes) {
  EXPECT_EQ(make({}).encode("▁x▁"), (Ids{9}));
  Parts parts;
  parts.model_extra = R"("unk_token":"<unk>",)";
  EXPECT_EQ(make(parts).encode("▁x▁"), (Ids{7, 10, 7}));
  EXPECT_EQ(make(parts).encode("b▁▁a▁a"), (Ids{1, 7, 8, 8}));
}

TEST(HuggingFaceTokenizer, WholeWordsWhereMergesAreIgnored) {
  Parts parts;
  parts.merges = "[]";
  parts.model_extra = R"("ignore_merges":true,)";
  parts.pre_tokenizer = kByteLevel;
  EXPECT_EQ(make(parts).encode("abc a ab"), (Ids{4, 6, 5, 0, 1}));
}

TEST(HuggingFaceTokenizer, BrokenUtf8CountsAsReplacementCharacters) {
  Parts parts;
  parts.model_extra = R"("unk_token":"<unk>",)";
  const auto tokenizer = make(parts);
  EXPECT_EQ(tokenizer.encode("a\xFF\xE2\x82"
                             "b"),
            tokenizer.encode("a\xEF\xBF\xBD\xEF\xBF\xBD"
                             "b"));
  EXPECT_EQ(tokenizer.encode("\xC3"), (Ids{10}));
}

TEST(HuggingFaceTokenizer, AddedTokensTakeBlanksWithThem) {
  Parts parts;
  parts.pre_tokenizer = kByteLevel;
  parts.added = "[" + added(20, "<l>", R"(,"lstrip":true)") + "," + added(21, "<r>", R"(,"rstrip":true)") + "," +
                added(22, "<n>", "") + "," + added(23, "w", R"(,"single_word":true)") + "]";
  const auto tokenizer = make(parts);
  EXPECT_EQ(tokenizer.vocab_size(), 24);
  EXPECT_EQ(tokenizer.encode("a \n <l> a"), (Ids{0, 20, 6}));
  EXPECT_EQ(tokenizer.encode("a <r> \xC2\x85 a"), (Ids{0, 5, 21, 0}));
  EXPECT_EQ(tokenizer.encode("a<n> a"), (Ids{0, 22, 6}));
  EXPECT_EQ(tokenizer.encode("<r> <l>"), (Ids{21, 20}));
  EXPECT_EQ(tokenizer.encode("a w a"), (Ids{0, 5, 23, 6}));
  EXPECT_EQ(tokenizer.encode("aw wa éw"),
            tokenizer.encode("a a é"));  // not words by themselves: unknown letters, which vanish
  EXPECT_EQ(tokenizer.decode(Ids{22, 0, 22}), "<n> a <n>");
}

TEST(HuggingFaceTokenizer, TheLongestAddedTokenWins) {
  Parts parts;
  parts.added = "[" + added(20, "xy", "") + "," + added(21, "xyzx", "") + "," + added(22, "yz", "") + "]";
  const auto tokenizer = make(parts);
  EXPECT_EQ(tokenizer.encode("xyzxyz"), (Ids{21, 22}));
  EXPECT_EQ(tokenizer.encode("xyzb"), (Ids{20, 1}));
}

TEST(HuggingFaceTokenizer, NormalizedTokensAreFoundInNormalizedText) {
  Parts parts;
  parts.normalizer = R"({"type":"Lowercase"})";
  parts.added =
      R"([{"id":20,"content":"CAB","special":false,"normalized":true},{"id":21,"content":"CC","special":false,"normalized":false}])";
  const auto tokenizer = make(parts);
  EXPECT_EQ(tokenizer.encode("aCabA"), (Ids{0, 20, 0}));
  EXPECT_EQ(tokenizer.encode("ccCC"), (Ids{2, 2, 21}));
}

TEST(HuggingFaceTokenizer, PrependComesAfterEachSpecialTokenAndMetaspaceFirstDoesNot) {
  Parts parts;
  parts.added = "[" + added(20, "<s>", "") + "]";
  parts.normalizer =
      R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]})";
  EXPECT_EQ(make(parts).encode("a<s>a a"), (Ids{8, 20, 8, 8}));
  parts.normalizer = "null";
  parts.pre_tokenizer = R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true})";
  EXPECT_EQ(make(parts).encode("a<s>a a"), (Ids{8, 20, 0, 8}));
  EXPECT_EQ(make(parts).encode(" a"), (Ids{8}));
  EXPECT_EQ(make(parts).encode("<s>a"), (Ids{20, 0}));
}

TEST(HuggingFaceTokenizer, TemplatesPutTokensAround) {
  Parts parts;
  parts.added = "[" + added(20, "<s>", "") + "," + added(21, "</s>", "") + "]";
  parts.post_processor =
      R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},)"
      R"({"SpecialToken":{"id":"</s>","type_id":0}}],"pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[20],"tokens":["<s>"]},)"
      R"("</s>":{"id":"</s>","ids":[21,21],"tokens":["</s>"]}}})";
  const auto tokenizer = make(parts);
  EXPECT_EQ(tokenizer.encode_with_special("abc"), (Ids{20, 4, 21, 21}));
  EXPECT_EQ(tokenizer.encode_with_special(""), (Ids{20, 21, 21}));
  EXPECT_EQ(tokenizer.encode("abc"), (Ids{4}));
  EXPECT_EQ(tokenizer.eod(), 21);  // "</s>", for want of a file that says so
  parts.post_processor =
      R"({"type":"RobertaProcessing","sep":["</s>",21],"cls":["<s>",20],"trim_offsets":true,"add_prefix_space":true})";
  EXPECT_EQ(make(parts).encode_with_special("abc"), (Ids{20, 4, 21}));
  parts.post_processor =
      R"({"type":"RobertaProcessing","sep":["</s>",99],"cls":["<s>",20],"trim_offsets":true,"add_prefix_space":true})";
  EXPECT_NE(error_of(parts).find("id 99 is outside"), std::string::npos);
}

TEST(HuggingFaceTokenizer, DecodesBytesThatAreCutInHalf) {
  Parts parts;
  parts.pre_tokenizer = kByteLevel;
  parts.decoder = kByteLevel;
  const auto tokenizer = make(parts);
  EXPECT_EQ(tokenizer.decode(Ids{12, 13}), "é");
  EXPECT_EQ(tokenizer.decode(Ids{12, 0}),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(tokenizer.decode(Ids{6, 14}), " a\n");
  EXPECT_EQ(tokenizer.decode(Ids{}), "");
}

TEST(HuggingFaceTokenizer, RefusesByNameWhatItDoesNotKnow) {
  const auto refused = [](Parts parts, const std::string& text) {
    try {
      make(parts);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const UnsupportedTokenizer& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  };
  Parts parts;
  parts.normalizer = R"({"type":"BertNormalizer"})";
  refused(parts, "normalizer 'BertNormalizer' is not supported");
  parts = {};
  parts.pre_tokenizer = R"({"type":"UnicodeScripts"})";
  refused(parts, "pre_tokenizer 'UnicodeScripts'");
  parts = {};
  parts.decoder = R"({"type":"Sequence","decoders":[{"type":"CTC"}]})";
  refused(parts, "decoder 'CTC'");
  parts = {};
  parts.post_processor = R"({"type":"Other"})";
  refused(parts, "post_processor 'Other'");
  parts = {};
  parts.model_extra = R"("surprise":1,)";
  refused(parts, "model BPE: the field 'surprise'");
  parts = {};
  parts.pre_tokenizer = R"({"type":"Split","pattern":{"Regex":"(a)\\1"},"behavior":"Isolated","invert":false})";
  refused(parts, "\\1 (at byte 4) is not supported");
}

TEST(HuggingFaceTokenizer, SaysWhatIsDamaged) {
  Parts parts;
  parts.vocab = R"("a":0,"b":0)";
  parts.merges = "[]";
  EXPECT_NE(error_of(parts).find("id 0 is there twice"), std::string::npos) << error_of(parts);
  parts.vocab = R"("a":-1)";
  EXPECT_NE(error_of(parts).find("token 'a' has id -1"), std::string::npos) << error_of(parts);
  parts.vocab = R"("a":99999999999)";
  EXPECT_NE(error_of(parts).find("has id 99999999999"), std::string::npos) << error_of(parts);
  parts.vocab = "";
  EXPECT_NE(error_of(parts).find("the vocabulary is empty"), std::string::npos) << error_of(parts);
  parts = {};
  parts.merges = R"(["a b","a zz"])";
  EXPECT_NE(error_of(parts).find("merge 1: 'zz' is not in the vocabulary"), std::string::npos) << error_of(parts);
  parts.merges = R"(["a b c"])";
  EXPECT_NE(error_of(parts).find("merge 0: 'a b c' is not two words"), std::string::npos) << error_of(parts);
  parts = {};
  parts.added = "[" + added(0, "<s>", "") + "]";
  EXPECT_NE(error_of(parts).find("'<s>' has id 0, which is the model's token 'a'"), std::string::npos)
      << error_of(parts);
  EXPECT_THROW(HuggingFaceTokenizer(Json::parse("[]", "test")), UserError);
  EXPECT_THROW(HuggingFaceTokenizer(Json::parse("{}", "test")), UserError);
}

TEST(HuggingFaceTokenizer, HugeWordsTakeNoQuadraticTime) {
  // With steps in the square of the length this would run for hours.
  Parts parts;
  parts.pre_tokenizer = kByteLevel;
  const auto tokenizer = make(parts);
  std::string word;
  for (int i = 0; i < 400'000; ++i) word += "abcb";
  const Ids ids = tokenizer.encode(word);
  EXPECT_EQ(ids.size(), 800'000u);
  EXPECT_EQ(tokenizer.decode(ids).size(), word.size() + ids.size() - 1);
}

TEST(HuggingFaceTokenizer, EncodesTheSameFromManyThreads) {
  const auto tokenizer = HuggingFaceTokenizer::load(CONCLAVE_GOLDEN_DIR "/tokenizer/gpt2");
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i)
    texts.push_back("text number " + std::to_string(i * 7919) + " and some more words, naïve ones too\n");
  std::vector<Ids> expected;
  for (const std::string& text : texts) expected.push_back(tokenizer->encode(text));
  std::vector<std::thread> threads;
  std::vector<int> wrong(8, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 5; ++round) {
        for (size_t i = 0; i < texts.size(); ++i) {
          const size_t at = (i * 17 + t) % texts.size();
          if (tokenizer->encode(texts[at]) != expected[at] || tokenizer->decode(expected[at]) != texts[at]) ++wrong[t];
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(8, 0));
}

class TokenizerFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "tokenizer_folder";
    remove_all(folder_);
    make_directories(folder_);
    Parts parts;
    parts.added =
        "[" + added(20, "<s>", "") + "," + added(21, "<|endoftext|>", "") + "," + added(22, "<end>", "") + "]";
    write_file_atomically(folder_ + "/tokenizer.json", file_of(parts));
  }
  void TearDown() override { remove_all(folder_); }
  void put(const std::string& name, const std::string& text) { write_file_atomically(folder_ + "/" + name, text); }
  std::string error() {
    try {
      HuggingFaceTokenizer::load(folder_);
    } catch (const UserError& e) {
      return e.what();
    }
    return "no error";
  }
  std::string folder_;
};

TEST_F(TokenizerFolder, EndOfDocumentComesFromTheFilesBeside) {
  EXPECT_EQ(HuggingFaceTokenizer::load(folder_)->eod(), 21);
  put("config.json", R"({"eos_token_id":20,"bos_token_id":1})");
  EXPECT_EQ(HuggingFaceTokenizer::load(folder_)->eod(), 20);
  put("generation_config.json", R"({"eos_token_id":[22,21]})");
  EXPECT_EQ(HuggingFaceTokenizer::load(folder_)->eod(), 22);
  put("tokenizer_config.json", R"({"eos_token":{"content":"<|endoftext|>"},"bos_token":"<s>","pad_token":null})");
  const auto tokenizer = HuggingFaceTokenizer::load(folder_);
  EXPECT_EQ(tokenizer->eod(), 21);
  EXPECT_EQ(tokenizer->bos(), 20);
  EXPECT_EQ(tokenizer->pad(), std::nullopt);
  EXPECT_EQ(tokenizer->files().size(), 3u);
  put("tokenizer_config.json", R"({"eos_token":"<none>"})");
  EXPECT_NE(error().find("tokenizer_config.json: eos_token '<none>' is not a token"), std::string::npos) << error();
}

TEST_F(TokenizerFolder, NamesFilesThatAreMissingOrDamaged) {
  put("tokenizer.json", R"({"model":)");
  EXPECT_NE(error().find("tokenizer.json: not valid JSON"), std::string::npos) << error();
  std::filesystem::remove(folder_ + "/tokenizer.json");
  EXPECT_NE(error().find("holds no tokenizer.json"), std::string::npos) << error();
}

TEST_F(TokenizerFolder, ReadsTheFilesOfTheGpt2Release) {
  put("vocab.json", std::string("{") + kLetters + "}");
  put("merges.txt", "#version: 0.2\na b\nab c\nĠ a\n");
  const auto tokenizer = HuggingFaceTokenizer::load_gpt2(folder_ + "/vocab.json", folder_ + "/merges.txt");
  EXPECT_EQ(tokenizer->encode("abc a"), (Ids{4, 6}));
  EXPECT_EQ(tokenizer->decode(Ids{4, 6}), "abc a");
  EXPECT_EQ(tokenizer->name(), "GPT2BPETokenizer");
}

}  // namespace
}  // namespace conclave

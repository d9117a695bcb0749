#include "data/preprocess.h"

#include <zlib.h>
#include <zstd.h>

#include <array>
#include <filesystem>
#include <random>

#include "base/hash.h"
#include "base/json.h"
#include "data/indexed_dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "scratch.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

void write_gzip(const std::string& path, const std::string& text) {
  const gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())), static_cast<int>(text.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

std::string zstd_of(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

class PreprocessTest : public ScratchTest {
 protected:
  void SetUp() override {
    ScratchTest::SetUp();
    config_.output_prefix = path("out/set");
    config_.workers = 3;
    bytes_ = make_tokenizer({.type = "ByteTokenizer"});
  }
  std::string output(const char* key = "text") { return path("out/set_") + key + "_document"; }
  /// Texts of the sequences of an output made with the ByteTokenizer; "|" stands for the end of document.
  std::vector<std::string> texts(const char* key = "text") {
    const IndexedDataset data(output(key));
    std::vector<std::string> out;
    for (int64_t i = 0; i < data.sequence_count(); ++i) {
      out.emplace_back();
      for (const int32_t token : data.read_sequence(i)) out.back() += token == 256 ? '|' : static_cast<char>(token);
    }
    return out;
  }
  PreprocessResult run(const std::string& name, const std::string& content) {
    write_quickly(path(name), content);
    config_.inputs = {path(name)};
    return preprocess(config_, *bytes_);
  }
  bool nothing_written() { return !fs::exists(path("out")) || fs::is_empty(path("out")); }

  PreprocessConfig config_;
  std::unique_ptr<Tokenizer> bytes_;
};

// JSONL whose documents are the tokens of a golden file as numbers; a document of several sequences is a list.
std::string golden_lines(const IndexedDataset& data) {
  std::string out;
  for (int64_t document = 0; document + 1 < data.boundary_count(); ++document) {
    Json list = Json::array();
    for (int64_t i = data.boundary(document); i < data.boundary(document + 1); ++i) {
      std::string numbers;
      for (const int32_t token : data.read_sequence(i)) numbers += std::to_string(token) + " ";
      list.push_back(numbers);
    }
    Json line = Json::object();
    line["id"] = document;
    line["text"] = list.size() == 1 ? list.at(size_t{0}) : list;
    out += line.dump() + "\n";
  }
  return out;
}

TEST_F(PreprocessTest, WritesTheBytesOfTheReference) {
  const Json golden = Json::parse(read_file(CONCLAVE_GOLDEN_DIR "/data/indexed.json"), "indexed.json");
  int compared = 0;
  for (const Json& entry : golden.at("cases").as_array()) {
    const std::string prefix = entry.at("prefix").as_string();
    if (entry.at("multimodal").as_bool()) continue;
    const IndexedDataset data(CONCLAVE_GOLDEN_DIR "/data/" + prefix);
    const auto tokenizer =
        make_tokenizer({.type = "NullTokenizer", .vocab_size = data.dtype() == DType::kU16 ? 65000 : 100000});
    const std::string lines = golden_lines(data);
    write_quickly(path("a.jsonl"), lines);
    write_gzip(path("b.jsonl.gz"), lines);
    write_quickly(path("c.jsonl.zst"), zstd_of(lines));
    for (const char* file : {"a.jsonl", "b.jsonl.gz", "c.jsonl.zst"}) {
      config_.inputs = {path(file)};
      const PreprocessResult result = preprocess(config_, *tokenizer);
      EXPECT_EQ(result.tokens, data.token_count());
      EXPECT_EQ(result.outputs, (std::vector<std::string>{output()}));
      EXPECT_EQ(sha256_hex(read_file(output() + ".bin")), entry.at("bin_sha256").as_string()) << prefix << " " << file;
      EXPECT_EQ(sha256_hex(read_file(output() + ".idx")), entry.at("idx_sha256").as_string()) << prefix << " " << file;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 21);
}

TEST_F(PreprocessTest, EndOfDocumentIsAppendedToDocumentsThatHaveTokens) {
  config_.append_eod = true;
  run("x.jsonl", "{\"text\":\"one\"}\n{\"text\":\"\"}\n\n{\"text\":[\"two\",\"\",\"three\"]}\r\n{\"text\":[]}");
  EXPECT_EQ(texts(), (std::vector<std::string>{"one|", "two", "three|"}));
  const IndexedDataset data(output());
  std::vector<int64_t> boundaries;
  for (int64_t i = 0; i < data.boundary_count(); ++i) boundaries.push_back(data.boundary(i));
  EXPECT_EQ(boundaries, (std::vector<int64_t>{0, 1, 1, 3, 3}));
}

TEST_F(PreprocessTest, TextIsCutIntoParagraphsLinesOrFiles) {
  const std::string text = "\n\nfirst\nline two\n \n\nsecond\r\n\r\nthird";
  run("x.txt", text);
  EXPECT_EQ(texts(), (std::vector<std::string>{"\n\nfirst\nline two\n \n\n", "second\r\n\r\n", "third"}));
  config_.text_documents = TextDocuments::kLine;
  run("x.txt", text);
  EXPECT_EQ(texts(), (std::vector<std::string>{"first", "line two", " ", "second", "third"}));
  config_.text_documents = TextDocuments::kFile;
  run("x.txt", text);
  EXPECT_EQ(texts(), (std::vector<std::string>{text}));
}

TEST_F(PreprocessTest, ParagraphsTogetherAreTheFileWhateverItsForm) {
  std::mt19937 random(5);
  for (const int kind : {0, 1, 2}) {
    std::string text = kind == 0 ? "\xef\xbb\xbf" : "";  // with a byte-order mark, which is no text
    while (text.size() < 5000000) {
      if (kind == 0) text += std::string(random() % 200, 'a') + (random() % 4 == 0 ? "\n\n" : "\n");
      if (kind == 1) text += std::string(random() % 2000, 'b') + "\n";             // no blank line
      if (kind == 2) text += random() % 10000 == 0 ? "\n" : std::string(50, 'c');  // few lines
    }
    run("x.txt", text);
    std::string joined;
    const std::vector<std::string> documents = texts();
    for (const std::string& document : documents) joined += document;
    EXPECT_TRUE(joined == (kind == 0 ? text.substr(3) : text)) << kind;
    EXPECT_GT(documents.size(), kind == 2 ? 1u : 4u) << kind;
  }
}

TEST_F(PreprocessTest, NumberOfThreadsChangesNothing) {
  std::mt19937 random(3);
  std::string lines;
  for (int i = 0; i < 40000; ++i) {
    lines += "{\"text\":\"" + std::string(random() % 150, static_cast<char>('a' + i % 26)) + "\"}\n";  // 12 others
  }
  std::vector<std::string> digests;
  for (const int64_t workers : {1, 2, 7}) {
    config_.workers = workers;
    run("x.jsonl", lines);
    digests.push_back(sha256_hex(read_file(output() + ".bin")) + sha256_hex(read_file(output() + ".idx")));
  }
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_EQ(digests[0], digests[2]);
  const IndexedDataset data(output());
  EXPECT_EQ(data.boundary_count(), 40001);
  EXPECT_EQ(data.token_count(), static_cast<int64_t>(lines.size()) - 40000 * 12);
}

TEST_F(PreprocessTest, EveryKeyHasItsFilesAndPatternsAreExpanded) {
  config_.json_keys = {"title", "body"};
  write_quickly(path("2.jsonl"), "{\"body\":\"B2\",\"title\":\"T2\",\"body\":\"the last counts\"}\n");
  write_quickly(path("1.jsonl"), "{\"title\":\"T1\",\"body\":\"B1\"}");
  write_quickly(path("3.other"), "");
  config_.inputs = {path("?.jsonl")};
  const PreprocessResult result = preprocess(config_, *bytes_);
  EXPECT_EQ(result.documents, 2);
  EXPECT_EQ(texts("title"), (std::vector<std::string>{"T1", "T2"}));
  EXPECT_EQ(texts("body"), (std::vector<std::string>{"B1", "the last counts"}));
  config_.inputs = {path("2.jsonl"), path("1.jsonl")};
  preprocess(config_, *bytes_);
  EXPECT_EQ(texts("title"), (std::vector<std::string>{"T2", "T1"}));
}

TEST_F(PreprocessTest, BadLinesAreNamedOrCounted) {
  const std::pair<const char*, const char*> kBad[] = {{"{\"text\":\"x\"", "not valid JSON"},
                                                      {"[1]", "a JSON object is expected"},
                                                      {"{\"txt\":\"x\"}", "no key \"text\""},
                                                      {"{\"text\":5}", "neither a string"},
                                                      {"{\"text\":[\"a\",5]}", "something else than strings"},
                                                      {"{\"text\":\"\xff\"}", "not valid JSON"},
                                                      {"plain words", "not valid JSON"}};
  for (const auto& [line, why] : kBad) {
    const std::string content = "{\"text\":\"good\"}\n\n" + std::string(line) + "\n{\"text\":\"fine\"}\n";
    config_.skip_bad_lines = false;
    const std::string text = error_of([&] { run("x.jsonl", content); });
    EXPECT_NE(text.find(path("x.jsonl") + ":3: "), std::string::npos) << text;
    EXPECT_NE(text.find(why), std::string::npos) << text;
    EXPECT_TRUE(nothing_written()) << line;
    config_.skip_bad_lines = true;
    const PreprocessResult result = run("x.jsonl", content);
    EXPECT_EQ(result.bad_lines, 1);
    EXPECT_EQ(result.documents, 2);
    ASSERT_EQ(result.first_bad_lines.size(), 1u);
    EXPECT_NE(result.first_bad_lines[0].find(":3: "), std::string::npos);
    EXPECT_EQ(texts(), (std::vector<std::string>{"good", "fine"}));
    remove_all(path("out"));
  }
}

TEST_F(PreprocessTest, WhatATokenizerRefusesIsABadLineToo) {
  const auto numbers = make_tokenizer({.type = "NullTokenizer", .vocab_size = 10});
  write_quickly(path("x.jsonl"), "{\"text\":[\"1 2\",\"3 x\"]}\n{\"text\":\"4\"}");
  config_.inputs = {path("x.jsonl")};
  EXPECT_NE(error_of([&] { preprocess(config_, *numbers); }).find("x.jsonl:1: "), std::string::npos);
  config_.skip_bad_lines = true;
  EXPECT_EQ(preprocess(config_, *numbers).bad_lines, 1);
  EXPECT_EQ(IndexedDataset(output()).read_sequence(0), (std::vector<int32_t>{4}));
}

TEST_F(PreprocessTest, DamagedCompressedFilesAreRefusedAndLeaveNothing) {
  std::string lines;
  for (int i = 0; i < 2000; ++i) lines += "{\"text\":\"" + std::to_string(i * i) + "\"}\n";
  write_gzip(path("g.jsonl.gz"), lines);
  const std::string gzip = read_file(path("g.jsonl.gz")), zstd = zstd_of(lines);
  for (const std::string& whole : {gzip, zstd}) {
    for (const size_t keep : {whole.size() - 1, whole.size() / 2, size_t{12}}) {
      const std::string text = error_of([&] { run("d.jsonl", whole.substr(0, keep)); });
      EXPECT_NE(text.find("ends in the middle"), std::string::npos) << text;
    }
    EXPECT_NE(error_of([&] { run("d.jsonl", whole + "more"); }).find("is damaged"), std::string::npos);
    std::string flipped = whole;
    flipped[whole.size() / 2] = static_cast<char>(flipped[whole.size() / 2] ^ 16);
    EXPECT_NE(error_of([&] { run("d.jsonl", flipped); }), "");
    EXPECT_TRUE(nothing_written());
    // Two in a row are one text.
    run("d.jsonl", whole + whole);
    EXPECT_EQ(texts().size(), 4000u);
    remove_all(path("out"));
  }
  run("d.jsonl", gzip + std::string(700, '\0'));
  EXPECT_EQ(texts().size(), 2000u);
}

TEST_F(PreprocessTest, CompressedTextComesWholeInSmallPieces) {
  const std::string text(300000, 'z');
  write_gzip(path("t.gz"), text);
  write_quickly(path("t.zst"), zstd_of(text) + zstd_of("end"));
  for (const char* file : {"t.gz", "t.zst"}) {
    TextInput input(path(file));
    std::string got;
    std::array<char, 7> piece;
    for (size_t count = input.read(piece); count > 0; count = input.read(piece)) got.append(piece.data(), count);
    EXPECT_TRUE(got == (file[2] == 'g' ? text : text + "end")) << file << " " << got.size();
    EXPECT_EQ(input.file_position(), input.file_bytes());
  }
}

TEST_F(PreprocessTest, WrongSettingsAreRefused) {
  const auto refusal = [&] { return error_of([&] { preprocess(config_, *bytes_); }); };
  EXPECT_NE(refusal().find("no input files"), std::string::npos);
  config_.inputs = {path("none.jsonl")};
  EXPECT_NE(refusal().find("no file"), std::string::npos);
  config_.inputs = {path("*.none")};
  EXPECT_NE(refusal().find("no file matches"), std::string::npos);
  config_.inputs = {folder_};
  EXPECT_NE(refusal().find("folder"), std::string::npos);
  write_quickly(path("x.txt"), "");
  config_.inputs = {path("x.txt")};
  EXPECT_NE(refusal().find("no tokens"), std::string::npos);
  config_.json_keys = {"body"};
  EXPECT_NE(refusal().find("plain text"), std::string::npos);
  config_.json_keys = {"text", "text"};
  EXPECT_NE(refusal().find("twice"), std::string::npos);
  EXPECT_TRUE(nothing_written());
}

TEST_F(PreprocessTest, ProgressComesAndCancellingLeavesNothing) {
  std::vector<PreprocessProgress> seen;
  config_.progress = [&](const PreprocessProgress& progress) { seen.push_back(progress); };
  run("x.jsonl", "{\"text\":\"abc\"}\n");
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(seen.back().finished);
  EXPECT_EQ(seen.back().fraction, 1.0);
  EXPECT_EQ(seen.back().tokens, 3);
  EXPECT_NE(seen.back().text().find("100.0% | 1 documents | 3 tokens"), std::string::npos) << seen.back().text();
  remove_all(path("out"));
  config_.cancelled = [] { return true; };
  EXPECT_NE(error_of([&] { run("x.jsonl", "{\"text\":\"abc\"}\n"); }).find("stopped on request"), std::string::npos);
  EXPECT_TRUE(nothing_written());
}

}  // namespace
}  // namespace conclave

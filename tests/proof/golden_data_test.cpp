// Every golden case of data sets, samples, blends and samplers.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "proof/golden/golden.h"
#include "proof/notes.h"

namespace conclave::proof {
namespace {

TEST(GoldenData, EveryCasePasses) {
  const GoldenReport report = golden_data(CONCLAVE_GOLDEN_DIR "/data").at(0);
  EXPECT_EQ(report.label, "data");
  EXPECT_TRUE(report.failed.empty()) << notes(report.failed);
  EXPECT_TRUE(report.not_built.empty()) << notes(report.not_built);
  EXPECT_EQ(report.passed, 98);
}

class OtherGoldenFolder : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "golden_data_other";
    remove_all(path_);
    make_directories(path_);
  }
  void TearDown() override { remove_all(path_); }
  void write(const std::string& name, const std::string& text) { write_file_atomically(path_ + "/" + name, text); }
  std::string path_;
};

TEST_F(OtherGoldenFolder, WrongUnknownAndUnreadableCasesAreToldApart) {
  write("path.json", R"({"kind":"data_path","cases":[
    {"error":false,"data_path":["1","a"],"prefixes":["a"],"weights":[1.0]},
    {"error":false,"data_path":["1","a"],"prefixes":["a"],"weights":[2.0]},
    {"error":true,"data_path":["1","a"]}]})");
  write("new.json", R"({"kind":"something_new","cases":[{"name":"x"}]})");
  write("broken.json", "{");
  write("loose.json", "[1, 2]");
  write("loose.txt", "no case");
  const GoldenReport report = golden_data(path_).at(0);
  EXPECT_EQ(report.passed, 1);
  ASSERT_EQ(report.failed.size(), 3u) << notes(report.failed);
  EXPECT_EQ(report.failed[0].name, "broken.json");
  EXPECT_EQ(report.failed[1].text, "weights[0] is 1, must be 2");
  EXPECT_EQ(report.failed[2].text, "must be refused, but was accepted");
  ASSERT_EQ(report.not_built.size(), 1u);
  EXPECT_EQ(report.not_built[0].text, "kind 'something_new'");
}

TEST_F(OtherGoldenFolder, OneWrongDigitInACaseIsNoticed) {
  const std::string golden = CONCLAVE_GOLDEN_DIR "/data";
  for (const auto& entry : std::filesystem::directory_iterator(golden)) {
    const std::filesystem::path& path = entry.path();
    if (path.extension() != ".json") std::filesystem::copy(path, path_ + "/" + path.filename().string());
  }
  for (const char* file : {"indexed.json", "gpt_dataset.json", "masks.json", "blended.json", "mock.json",
                           "sampler.json", "split.json", "requested_sizes.json", "blending_indices.json"}) {
    std::string text = read_file(golden + "/" + file);
    const size_t at = text.find_last_of("0123456789");  // belongs to the last case
    text[at] = text[at] == '1' ? '2' : '1';
    write(file, text);
  }
  const GoldenReport report = golden_data(path_).at(0);
  EXPECT_EQ(report.failed.size(), 9u) << notes(report.failed);
}

}  // namespace
}  // namespace conclave::proof

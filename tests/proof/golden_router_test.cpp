// Every golden case of the router, and that a wrong one is noticed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/safetensors.h"
#include "proof/golden/golden.h"
#include "proof/notes.h"

namespace conclave::proof {
namespace {

namespace fs = std::filesystem;

TEST(GoldenRouter, EveryCasePasses) {
  const GoldenReport report = golden_router(CONCLAVE_GOLDEN_DIR "/router").at(0);
  EXPECT_EQ(report.label, "router");
  EXPECT_TRUE(report.failed.empty()) << notes(report.failed);
  EXPECT_TRUE(report.not_built.empty()) << notes(report.not_built);
  EXPECT_EQ(report.passed, 63);
}

class OtherRouterFolder : public testing::Test {
 protected:
  void SetUp() override {
    remove_all(path_);
    make_directories(path_);
  }
  void TearDown() override { remove_all(path_); }
  void copy(const std::string& name) {
    for (const char* ending : {".json", ".safetensors"})
      fs::copy(CONCLAVE_GOLDEN_DIR "/router/" + name + ending, path_ + "/" + name + ending);
  }
  /// Changes the last element of `tensor` of a copied case a little.
  void spoil(const std::string& name, const std::string& tensor) {
    const std::string file = path_ + "/" + name + ".safetensors";
    std::string bytes = read_file(file);
    const SafetensorsFile parsed(file);
    const std::byte* end_of_file = nullptr;
    for (const SafetensorsEntry& one : parsed.entries())
      end_of_file = std::max(end_of_file, one.bytes.data() + one.bytes.size());
    const SafetensorsEntry& entry = parsed.at(tensor);
    const auto from_end = end_of_file - (entry.bytes.data() + entry.bytes.size()) + dtype_size(entry.dtype);
    char* last = bytes.data() + bytes.size() - from_end;
    if (entry.dtype == DType::kF32) {
      float value;
      std::memcpy(&value, last, sizeof value);
      value += 1e-3f;
      std::memcpy(last, &value, sizeof value);
    } else {
      last[0] ^= 1;
    }
    write_file_atomically(file, bytes);
  }
  std::string path_ = testing::TempDir() + "golden_router_other";
};

TEST_F(OtherRouterFolder, APerturbedValueIsNoticedAndNamed) {
  const std::vector<std::pair<std::string, std::string>> spoiled = {{"softmax_post_k2_e8", "probs"},
                                                                    {"aux_softmax", "dlogits"},
                                                                    {"z_only", "z_loss"},
                                                                    {"cap_aux_bias", "routing_map"},
                                                                    {"seq_aux_b4", "seq_aux_loss_logged"},
                                                                    {"linear_bias_k2_e8", "dbias"},
                                                                    {"bias_update_e8", "updated_expert_bias"},
                                                                    {"pad_map_16", "padded_routing_map"}};
  for (const auto& [name, tensor] : spoiled) {
    copy(name);
    spoil(name, tensor);
  }
  const GoldenReport report = golden_router(path_).at(0);
  EXPECT_EQ(report.passed, 0);
  ASSERT_EQ(report.failed.size(), spoiled.size()) << notes(report.failed);
  for (const auto& [name, tensor] : spoiled) {
    const auto note = std::find_if(report.failed.begin(), report.failed.end(),
                                   [&, &wanted = name](const GoldenNote& one) { return one.name == wanted; });
    ASSERT_NE(note, report.failed.end()) << name;
    EXPECT_EQ(note->text.substr(0, tensor.size()), tensor) << note->text;
  }
}

TEST_F(OtherRouterFolder, UnknownOptionsAreNamedAndBrokenFilesFail) {
  copy("z_only");
  std::string json = read_file(path_ + "/z_only.json");
  const auto with = [&](const std::string& name, const std::string& from, const std::string& to) {
    fs::copy(path_ + "/z_only.safetensors", path_ + "/" + name + ".safetensors");
    std::string changed = json;
    changed.replace(changed.find(from), from.size(), to);
    write_file_atomically(path_ + "/" + name + ".json", changed);
  };
  with("new_option", "\"seed\"", "\"moe-router-magic\": 3, \"seed\"");
  with("new_function", "\"moe-router-score-function\": \"softmax\"", "\"moe-router-score-function\": \"other\"");
  with("new_kind", "\"kind\": \"router\"", "\"kind\": \"else\"");
  write_file_atomically(path_ + "/broken.json", "{");
  write_file_atomically(path_ + "/alone.json", json);
  write_file_atomically(path_ + "/loose.json", "{\"a\": 1}");
  write_file_atomically(path_ + "/loose.txt", "no case");
  const GoldenReport report = golden_router(path_).at(0);
  EXPECT_EQ(report.passed, 1);
  ASSERT_EQ(report.failed.size(), 2u) << notes(report.failed);
  EXPECT_EQ(report.failed[0].name, "alone");
  EXPECT_EQ(report.failed[1].name, "broken");
  ASSERT_EQ(report.not_built.size(), 3u) << notes(report.not_built);
  EXPECT_EQ(report.not_built[0].text, "moe-router-score-function \"other\"");
  EXPECT_EQ(report.not_built[1].text, "kind 'else'");
  EXPECT_EQ(report.not_built[2].text, "option 'moe-router-magic'");
}

}  // namespace
}  // namespace conclave::proof

#include <gtest/gtest.h>

#include "base/file.h"
#include "proof/golden/golden.h"
#include "proof/notes.h"

namespace conclave::proof {
namespace {

TEST(GoldenLayout, EveryCasePasses) {
  const GoldenReport report = golden_layout(CONCLAVE_GOLDEN_DIR "/layout").at(0);
  EXPECT_TRUE(report.failed.empty()) << notes(report.failed);
  EXPECT_TRUE(report.not_built.empty()) << notes(report.not_built);
  EXPECT_EQ(report.passed, 95);
}

TEST(GoldenLayout, WrongDigitsAreNoticed) {
  const std::string folder = testing::TempDir() + "golden_layout_wrong";
  for (const char* file : {"groups.json", "orders.json", "large.json", "embedding_ranks.json", "hierarchical_cp.json",
                           "optimizer_instances.json"}) {
    remove_all(folder);
    make_directories(folder);
    std::string text = read_file(std::string(CONCLAVE_GOLDEN_DIR) + "/layout/" + file);
    const size_t digit = text.find_last_of("0123456789");  // belongs to the last case
    text[digit] = text[digit] == '1' ? '2' : '1';
    write_file_atomically(folder + "/" + file, text);
    EXPECT_EQ(golden_layout(folder).at(0).failed.size(), 1u) << file;
  }
  remove_all(folder);
}

}  // namespace
}  // namespace conclave::proof

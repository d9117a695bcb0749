// The golden runner itself: what it finds, what it says, what it counts.
#include "proof/golden/run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace conclave::proof {
namespace {

namespace fs = std::filesystem;

class GoldenRun : public testing::Test {
 protected:
  void SetUp() override { root_ = fs::temp_directory_path() / ("conclave_golden_run_" + std::to_string(getpid())); }
  void TearDown() override { fs::remove_all(root_); }
  void add(const std::string& file, const std::string& text = "") {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  int64_t run(const std::vector<GoldenFolder>& folders, const std::string& below = "") {
    text_.clear();
    return run_golden((root_ / below).string(), [&](const std::string& text) { text_ += text; }, folders);
  }
  fs::path root_;
  std::string text_;
};

std::vector<GoldenReport> good(const std::string&) { return {{"router", 3, {}, {{"mla", "multi-latent attention"}}}}; }
std::vector<GoldenReport> bad(const std::string&) {
  return {{"training", 1, {{"lr.json#2", "lr[3] is 0.5, must be 0.25"}}, {}},
          {"training/lr.json", 1, {{"lr.json#2", "lr[3] is 0.5, must be 0.25"}}, {}}};
}
std::vector<GoldenReport> throws(const std::string&) { throw UserError("cannot read it"); }

TEST_F(GoldenRun, OneLinePerFolderAndFileAndTheNotes) {
  add("router/x");
  add("training/x");
  add("loose.json", "{}");
  EXPECT_EQ(run({{"router", good}, {"training", bad}}), 1);
  EXPECT_EQ(text_,
            "router: 3 passed, 0 failed, 1 not built\n"
            "  not built: mla: multi-latent attention\n"
            "training: 1 passed, 1 failed, 0 not built\n"
            "training/lr.json: 1 passed, 1 failed, 0 not built\n"
            "  failed: lr.json#2: lr[3] is 0.5, must be 0.25\n");
}

TEST_F(GoldenRun, AFolderThatThrowsHasFailedAndTheOthersStillRun) {
  add("model/x");
  add("router/x");
  EXPECT_EQ(run({{"router", good}, {"model", throws}}), 1);
  EXPECT_NE(text_.find("model: 0 passed, 1 failed, 0 not built\n  failed: the folder: cannot read it\n"),
            std::string::npos);
  EXPECT_NE(text_.find("router: 3 passed"), std::string::npos);
}

TEST_F(GoldenRun, FindsFoldersDeeperAndTheFolderItself) {
  add("more/router/x");
  EXPECT_EQ(run({{"router", good}}), 0);
  EXPECT_NE(text_.find("more/router: 3 passed"), std::string::npos);
  EXPECT_EQ(run({{"router", good}}, "more/router"), 0);
  EXPECT_EQ(text_.substr(0, 8), "router: ");
}

TEST_F(GoldenRun, UnknownFoldersAreNamedAndEmptyDirectoriesRefused) {
  add("other/x");
  EXPECT_EQ(run({{"router", good}}), 0);
  EXPECT_NE(text_.find("other: 0 passed, 0 failed, 1 not built"), std::string::npos);
  fs::remove_all(root_ / "other");
  EXPECT_THROW(run({{"router", good}}), UserError);
  EXPECT_THROW(run({{"router", good}}, "absent"), UserError);
}

}  // namespace
}  // namespace conclave::proof

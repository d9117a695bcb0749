// Every golden case of training arithmetic and of schedules; and that a wrong number would be noticed.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "proof/golden/golden.h"
#include "proof/notes.h"

namespace conclave::proof {
namespace {

int passed_of(const std::vector<GoldenReport>& reports, const std::string& label) {
  for (const GoldenReport& report : reports) {
    if (report.label != label) continue;
    EXPECT_TRUE(report.failed.empty()) << notes(report.failed);
    EXPECT_TRUE(report.not_built.empty()) << notes(report.not_built);
    return report.passed;
  }
  ADD_FAILURE() << "no report " << label;
  return -1;
}

// One digit at a time is changed in the file; each must fail at least one case.
void expect_wrong_digits_are_noticed(const std::string& file, std::vector<GoldenReport> (*run)(const std::string&)) {
  const std::string folder = testing::TempDir() + "golden_wrong_digit";
  const std::string text = read_file(std::string(CONCLAVE_GOLDEN_DIR) + "/" + file);
  const std::string name = std::filesystem::path(file).filename();
  const size_t cases = text.find("\"cases\"");
  int changed = 0;
  for (const char* mark :
       {"\"values\"", "\"updates\"", "\"num_floating_point_operations\"", "\"padded_vocab_size\":", "_wanted\"",
        "\"current_global_batch_size\"", "\"order\"", "\"grad_sync_backwards\"", "\"microbatch_id\"",
        "\"num_warmup_microbatches\":[", "\"layer_offset\"", "\"num_layers_to_build\""}) {
    const size_t place = text.rfind(mark);
    if (place == std::string::npos || place < cases) continue;
    remove_all(folder);
    make_directories(folder);
    std::string wrong = text;
    const size_t digit =
        wrong.find_first_of("123456789", wrong.find(mark == std::string("\"values\"") ? ".0" : ":", place));
    wrong[digit] = wrong[digit] == '1' ? '2' : '1';
    write_file_atomically(folder + "/" + name, wrong);
    EXPECT_GE(run(folder).at(0).failed.size(), 1u) << file << " " << mark;
    ++changed;
  }
  remove_all(folder);
  EXPECT_GT(changed, 0) << file;
}

TEST(GoldenTraining, EveryCasePasses) {
  const auto reports = golden_training(CONCLAVE_GOLDEN_DIR "/training");
  EXPECT_EQ(passed_of(reports, "training/lr_wd.json"), 34);
  EXPECT_EQ(passed_of(reports, "training/flops.json"), 39);
  EXPECT_EQ(passed_of(reports, "training/vocab_padding.json"), 48);
  EXPECT_EQ(passed_of(reports, "training/dataset_sizes.json"), 9);
  EXPECT_EQ(passed_of(reports, "training"), 130);
}

TEST(GoldenTraining, WrongDigitsAreNoticed) {
  for (const char* file : {"lr_wd", "flops", "vocab_padding", "dataset_sizes"}) {
    expect_wrong_digits_are_noticed(std::string("training/") + file + ".json", golden_training);
  }
}

TEST(GoldenSchedule, EveryBatchCasePasses) {
  const auto reports = golden_schedule(CONCLAVE_GOLDEN_DIR "/schedule");
  EXPECT_EQ(passed_of(reports, "schedule/num_microbatches.json"), 13);
  EXPECT_EQ(passed_of(reports, "schedule/rampup_batch_size.json"), 12);
  EXPECT_EQ(passed_of(reports, "schedule/step_batch_size.json"), 15);
}

TEST(GoldenSchedule, EveryPipelineCasePasses) {
  const auto reports = golden_schedule(CONCLAVE_GOLDEN_DIR "/schedule");
  EXPECT_EQ(passed_of(reports, "schedule/order.json"), 36);
  EXPECT_EQ(passed_of(reports, "schedule/tables.json"), 39);
  EXPECT_EQ(passed_of(reports, "schedule/warmup.json"), 60);
  EXPECT_EQ(passed_of(reports, "schedule/layout_strings.json"), 64);
  EXPECT_EQ(passed_of(reports, "schedule/layer_split.json"), 70);
  passed_of(reports, "schedule");
}

TEST(GoldenSchedule, WrongDigitsAreNoticed) {
  for (const char* file : {"num_microbatches", "rampup_batch_size", "step_batch_size", "order", "tables", "warmup",
                           "layout_strings", "layer_split"}) {
    expect_wrong_digits_are_noticed(std::string("schedule/") + file + ".json", golden_schedule);
  }
}

}  // namespace
}  // namespace conclave::proof

// Golden cases of batches; those of pipelines are in pipeline_cases.h.
#include <map>

#include "config/parse.h"
#include "proof/golden/case_files.h"
#include "proof/golden/golden.h"
#include "proof/golden/pipeline_cases.h"
#include "schedule/batch_schedule.h"

namespace conclave::proof {
namespace {

TrainingOptions training_options(const Json& golden) {
  TrainingOptions training;
  training.micro_batch_size = golden.at("micro_batch_size").as_int();
  training.global_batch_size = int_or(golden, "global_batch_size", 0);
  training.decrease_batch_size_if_needed = flag_or(golden, "decrease_batch_size_if_needed", false);
  if (const Json* rampup = golden.find("rampup_batch_size")) training.rampup_batch_size = ints(*rampup);
  if (const Json* steps = golden.find("step_batch_size_schedule")) {
    training.step_batch_size_schedule = steps->as_string();
  }
  return training;
}

BatchSchedule batch_schedule(const Json& golden) {
  return BatchSchedule(training_options(golden), golden.at("data_parallel_size").as_int(),
                       int_or(golden, "seq_length", 0));
}

void check_constant(const Json& golden, const std::string&) {
  const StepBatch step = batch_schedule(golden).at(0);
  if (must_be_refused(golden)) return;
  expect_equal("num_microbatches", step.micro_batches, golden.at("num_microbatches").as_int());
  expect_equal("current_global_batch_size", step.global, golden.at("current_global_batch_size").as_int());
  expect_equal("current_running_global_batch_size", step.running,
               golden.at("current_running_global_batch_size").as_int());
}

// Rows of `updates` and `walk`; with a running batch in them (ramp-up) or without (stepped).
void check_rows(const BatchSchedule& schedule, const Json& golden, bool with_running) {
  const auto numbers = [&](const StepBatch& step) {
    return with_running ? std::vector<int64_t>{step.global, step.running, step.micro_batches}
                        : std::vector<int64_t>{step.global, step.micro_batches};
  };
  for (const Json& row : golden.at("updates").as_array()) {
    const std::string what = fmt::format("after {} samples", row.at(size_t{0}).as_int());
    const StepBatch step = schedule.unchecked_at(row.at(size_t{0}).as_int());
    std::vector<int64_t> wanted;
    for (size_t i = 1; i + 1 < row.size(); ++i) wanted.push_back(row.at(i).as_int());
    expect_same(what, numbers(step), wanted);
    expect_equal(what + " divisible", step.divisible, row.at(row.size() - 1).as_bool());
  }
  int64_t consumed = 0;
  for (const Json& row : golden.at("walk").as_array()) {
    const std::string what = fmt::format("step {}", row.at(size_t{0}).as_int());
    const StepBatch step = schedule.at(consumed);
    std::vector<int64_t> got = numbers(step), wanted;
    got.insert(got.begin(), consumed);
    for (size_t i = 1; i < row.size(); ++i) wanted.push_back(row.at(i).as_int());
    expect_same(what, got, wanted);
    consumed += step.running;
  }
}

void check_rampup(const Json& golden, const std::string&) {
  const BatchSchedule schedule = batch_schedule(golden);
  if (!must_be_refused(golden)) check_rows(schedule, golden, true);
}

void check_steps(const Json& golden, const std::string&) {
  const BatchSchedule schedule = batch_schedule(golden);
  if (must_be_refused(golden)) return;
  const std::vector<BatchChange> changes =
      parse_batch_changes(golden.at("step_batch_size_schedule").as_string(), int_or(golden, "seq_length", 0));
  const Json& wanted = golden.at("parsed_schedule");
  expect_equal("parsed_schedule length", changes.size(), wanted.size());
  for (size_t i = 0; i < changes.size(); ++i) {
    expect_same(fmt::format("parsed_schedule[{}]", i), {changes[i].first_sample, changes[i].batch}, ints(wanted.at(i)));
  }
  check_rows(schedule, golden, false);
}

}  // namespace

std::vector<GoldenReport> golden_schedule(const std::string& folder) {
  const std::map<std::string, CaseFunction> kinds = {
      {"num_microbatches", check_constant},      {"rampup_batch_size", check_rampup},
      {"step_batch_size_schedule", check_steps}, {"schedule_order", check_order},
      {"schedule_table", check_table},           {"warmup_counts", check_warmup},
      {"pipeline_layout", check_layout_string},  {"layer_split", check_layer_split}};
  return run_case_files(folder, "schedule", kinds, Reports::kAlsoByFile);
}

}  // namespace conclave::proof

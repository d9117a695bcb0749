#include "schedule/batch_schedule.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace conclave {
namespace {

TrainingOptions options(int64_t micro, int64_t global) {
  TrainingOptions training;
  training.micro_batch_size = micro;
  training.global_batch_size = global;
  return training;
}

TEST(BatchSchedule, Constant) {
  const BatchSchedule schedule(options(2, 12), 3, 0);
  EXPECT_TRUE(schedule.is_constant());
  EXPECT_EQ(schedule.at(0), (StepBatch{12, 12, 2, true}));
  EXPECT_EQ(schedule.at(1'000'000'000'000), (StepBatch{12, 12, 2, true}));
  EXPECT_EQ(schedule.steps_in(25), 2);
  EXPECT_EQ(BatchSchedule(options(2, 0), 3, 0).at(0).global, 6);
  EXPECT_THROW(BatchSchedule(options(2, 7), 3, 0), UserError);
  EXPECT_THROW(BatchSchedule(options(0, 7), 1, 0), UserError);
}

TEST(BatchSchedule, RampUpReachesItsEnd) {
  TrainingOptions training = options(1, 8);
  training.rampup_batch_size = {2, 2, 30};
  const BatchSchedule schedule(training, 1, 0);
  EXPECT_FALSE(schedule.is_constant());
  EXPECT_EQ(schedule.at(0).global, 2);
  EXPECT_EQ(schedule.at(9).global, 2);
  EXPECT_EQ(schedule.at(10).global, 4);
  EXPECT_EQ(schedule.at(29).global, 6);
  EXPECT_EQ(schedule.at(31).global, 8);
  training.rampup_batch_size = {8, 2, 30};
  EXPECT_EQ(BatchSchedule(training, 1, 0).at(0).global, 8);
  training.rampup_batch_size = {2, 2, 0};
  EXPECT_EQ(BatchSchedule(training, 1, 0).at(0).global, 8);
  training.rampup_batch_size = {2, 2, -1};
  EXPECT_THROW(BatchSchedule(training, 1, 0), UserError);
}

TEST(BatchSchedule, StepsOfARunFollowTheBatches) {
  TrainingOptions training = options(1, 0);
  training.step_batch_size_schedule = "0:2 4:4";
  training.train_samples = 13;
  const BatchSchedule schedule(training, 1, 0);
  EXPECT_EQ(schedule.steps_in(3), 1);
  EXPECT_EQ(schedule.steps_in(4), 2);
  EXPECT_EQ(schedule.steps_in(13), 4);  // 2 2 4 4, one sample is left over
  EXPECT_EQ(training_steps(training, schedule), 4);
  training.train_iters = 7;
  EXPECT_EQ(training_steps(training, schedule), 7);
}

TEST(BatchSchedule, AnIndivisibleStepIsRefusedWhenItComes) {
  TrainingOptions training = options(2, 0);
  training.step_batch_size_schedule = "0:2 4:3";
  const BatchSchedule schedule(training, 1, 0);
  EXPECT_EQ(schedule.at(3).running, 2);
  EXPECT_THROW(schedule.at(4), UserError);
  training.decrease_batch_size_if_needed = true;
  EXPECT_EQ(BatchSchedule(training, 1, 0).at(4), (StepBatch{3, 2, 1, true}));
}

TEST(BatchChanges, FaultsAreNamed) {
  const auto fault = [](const char* text) -> std::string {
    try {
      parse_batch_changes(text, 0);
    } catch (const UserError& error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_EQ(fault("0:8,1K:16"), "none");
  EXPECT_EQ(fault("5:8"), "--step-batch-size-schedule: the first threshold must be 0; got '5:8'; begin with 0:SIZE");
  EXPECT_EQ(fault("0:0"), "--step-batch-size-schedule: a batch must be above 0; got '0:0'; raise it");
  EXPECT_NE(fault("0:x").find("whole numbers"), std::string::npos);
  EXPECT_NE(fault("0:8:9").find("pieces"), std::string::npos);
  EXPECT_NE(fault("0:8 0:9").find("move them apart"), std::string::npos);
  EXPECT_NE(fault("0:8 -5:9"), "none");
}

}  // namespace
}  // namespace conclave

// The program as a user runs it: exit codes, signals, stopping and resuming, a bad result.
#include "checkpoint/difference.h"
#include "checkpoint/directory.h"
#include "trainer/metrics.h"
#include "trainer/small_runs.h"

namespace conclave {
namespace {

class Run : public SmallRuns {};

TEST_F(Run, StopAndResumeGivesTheSameBits) {
  const std::string whole = root_ + "/whole", parts = root_ + "/parts";
  ASSERT_EQ(train("--lr 1e-2 --train-iters 12 --save " + whole), 0) << output_;
  ASSERT_EQ(train("--lr 1e-2 --train-iters 12 --exit-interval 5 --save " + parts), 0) << output_;
  ASSERT_EQ(list_checkpoints(parts).back(), 5);
  ASSERT_EQ(train("--lr 1e-2 --train-iters 12 --save " + parts + " --load " + parts), 0) << output_;
  const CheckpointReader a(whole + "/" + checkpoint_name(12)), b(parts + "/" + checkpoint_name(12));
  for (const TensorDifference& difference : compare_checkpoints(a, b))
    EXPECT_EQ(difference.kind, TensorDifference::Kind::kEqual) << difference.name;
}

TEST_F(Run, ABadResultIsLocatedSavedBeforeAndToldByTheExitCode) {
  const std::string run = root_ + "/run";
  const std::string words =
      "--lr 1e20 --lr-warmup-iters 0 --lr-decay-style constant --clip-grad 0 --train-iters 30 --save " + run +
      " --load " + run;
  EXPECT_EQ(train(words), 16) << output_;
  EXPECT_NE(output_.find("First bad value: decoder.layers."), std::string::npos) << output_;
  EXPECT_NE(output_.find("the state before this step is saved"), std::string::npos) << output_;
  EXPECT_EQ(train(words), 17) << output_;
}

// Neither option: a difference of the schedule is an error that names it. With one, this or the other side wins.
TEST_F(Run, AChangedScheduleIsRefusedUnlessOneSideIsChosen) {
  const std::string first = root_ + "/first", other = root_ + "/other";
  ASSERT_EQ(train("--lr 1e-3 --lr-decay-style constant --weight-decay 0.1 --train-iters 2 --save " + first), 0)
      << output_;
  const std::string words = "--lr 2e-3 --lr-decay-style constant --weight-decay 0.2 --train-iters 3 --load " + first;
  ASSERT_EQ(train(words), 1) << output_;
  EXPECT_TRUE(printed("--lr: 0.002 here, 0.001 in the checkpoint")) << output_;
  EXPECT_TRUE(printed("--end-weight-decay or --weight-decay: 0.2 here, 0.1 in the checkpoint")) << output_;
  EXPECT_FALSE(printed("--min-lr:")) << output_;
  EXPECT_FALSE(printed("the run's length")) << output_;  // nothing moves with it
  ASSERT_EQ(train(words + " --override-opt-param-scheduler"), 0) << output_;
  EXPECT_TRUE(printed("learning rate: 2.000000E-03")) << output_;
  ASSERT_EQ(train(words + " --use-checkpoint-opt-param-scheduler --save " + other), 0) << output_;
  EXPECT_TRUE(printed("learning rate: 1.000000E-03")) << output_;
  // The same bits as a run that had these values all along.
  const std::string straight = root_ + "/straight";
  ASSERT_EQ(train("--lr 1e-3 --lr-decay-style constant --weight-decay 0.1 --train-iters 3 --save " + straight), 0);
  const CheckpointReader a(other + "/" + checkpoint_name(3)), b(straight + "/" + checkpoint_name(3));
  for (const TensorDifference& difference : compare_checkpoints(a, b))
    EXPECT_EQ(difference.kind, TensorDifference::Kind::kEqual) << difference.name;
  // Weights alone: nothing is resumed, so nothing is compared.
  EXPECT_EQ(train(words + " --finetune"), 0) << output_;
}

// A jump of the loss: the step is run twice, told, remembered in the tracker; after a second life found it too, the
// third leaves the step out.
TEST_F(Run, ASpikeIsRepeatedToldAndSkippedAfterTwoLives) {
  const std::string run = root_ + "/run", tracker = root_ + "/rejected.jsonl";
  const std::string steady = "--lr-decay-style constant --clip-grad 0 ";
  ASSERT_EQ(train(steady + "--lr 1e-3 --log-interval 50 --train-iters 104 --save " + run), 0) << output_;
  const std::string wild = steady + "--lr 3 --override-opt-param-scheduler --train-iters 107 --load " + run +
                           " --ckpt-step 104 --check-for-spiky-loss --check-for-large-grads "
                           "--result-rejected-tracker-filename " +
                           tracker + " --save " + root_ + "/wild";
  ASSERT_EQ(train(wild), 0) << output_;
  EXPECT_TRUE(printed("iteration 106: loss spike: ")) << output_;
  EXPECT_TRUE(printed("the same again when run a second time")) << output_;
  EXPECT_FALSE(printed("iteration 105: loss spike: ")) << output_;
  bool event = false;
  for (const Json& record : read_metrics(root_ + "/wild/metrics.jsonl").others)
    event = event || (record.at("kind").as_string() == "event" && record.at("what").as_string() == "loss spike");
  EXPECT_TRUE(event);
  const std::string lines = read_file(tracker);
  EXPECT_NE(lines.find(R"("iteration":106,"what":"loss spike","value":)"), std::string::npos) << lines;
  EXPECT_NE(lines.find(R"("status":"reproducible")"), std::string::npos) << lines;
  ASSERT_EQ(train(wild), 0) << output_;
  EXPECT_TRUE(printed("iteration 106: loss spike: ")) << output_;
  ASSERT_EQ(train(wild), 0) << output_;
  EXPECT_FALSE(printed("iteration 106: loss spike: ")) << output_;
  EXPECT_TRUE(printed("number of skipped iterations:   1")) << output_;
  // Without repeating, the line says so.
  ASSERT_EQ(train(steady +
                  "--lr 3 --override-opt-param-scheduler --train-iters 107 --check-for-large-grads --rerun-mode "
                  "disabled --load " +
                  run + " --result-rejected-tracker-filename " + root_ + "/alone.jsonl"),
            0)
      << output_;
  EXPECT_NE(read_file(root_ + "/alone.jsonl").find(R"("what":"large gradients")"), std::string::npos);
  EXPECT_NE(read_file(root_ + "/alone.jsonl").find(R"("status":"not repeated")"), std::string::npos);
}

TEST_F(Run, ReportStatsRunsEveryStepTwiceAndChangesNothing) {
  const std::string once = root_ + "/once", twice = root_ + "/twice";
  ASSERT_EQ(train("--lr 1e-2 --train-iters 4 --save " + once), 0) << output_;
  EXPECT_FALSE(printed("was run again"));
  ASSERT_EQ(train("--lr 1e-2 --train-iters 4 --rerun-mode report_stats --save " + twice), 0) << output_;
  EXPECT_TRUE(printed("8 of 8 results were the same to the bit when their step was run again")) << output_;
  const CheckpointReader a(once + "/" + checkpoint_name(4)), b(twice + "/" + checkpoint_name(4));
  for (const TensorDifference& difference : compare_checkpoints(a, b))
    EXPECT_EQ(difference.kind, TensorDifference::Kind::kEqual) << difference.name;
}

TEST_F(Run, LoadsAreInTheMetrics) {
  const std::string run = root_ + "/run";
  ASSERT_EQ(train("--lr 1e-3 --train-iters 4 --exit-interval 2 --save " + run), 0) << output_;
  ASSERT_EQ(train("--lr 1e-3 --train-iters 4 --save " + run + " --load " + run), 0) << output_;
  int loads = 0;
  for (const Json& record : read_metrics(run + "/metrics.jsonl").others) {
    if (record.at("kind").as_string() != "load") continue;
    ++loads;
    EXPECT_EQ(record.at("iteration").as_int(), 2);
  }
  EXPECT_EQ(loads, 1);
}

TEST_F(Run, WrongWordsAreUsageErrors) {
  EXPECT_EQ(train("--num-expert 8"), 2);
  EXPECT_NE(output_.find("num-experts"), std::string::npos) << output_;
  EXPECT_EQ(train("--lr 1e-3 --train-iters 3 --moe-router-topk 9"), 2) << output_;
}

TEST_F(Run, SimulatesWithoutData) {
  EXPECT_EQ(train("--lr 1e-3 --train-iters 2 --device sim"), 0) << output_;
  EXPECT_NE(output_.find("activations"), std::string::npos) << output_;
}

}  // namespace
}  // namespace conclave

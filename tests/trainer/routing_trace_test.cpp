// Choices that a run writes down, and runs that make them again.
#include "moe/routing_trace.h"

#include "trainer/small_runs.h"

namespace conclave {
namespace {

class RoutingTraces : public SmallRuns {
 protected:
  std::vector<int16_t> choices(const std::string& folder, int64_t step, int64_t rank, int64_t layer) {
    RoutingTraceReader reader(root_ + "/" + folder);
    return reader.chosen({step, 1, "decoder.layers." + std::to_string(layer) + ".mlp.router"}, rank).experts;
  }
  int traced(const std::string& folder, const std::string& more) {
    return train("--lr 1e-3 --moe-routing-trace-path " + root_ + "/" + folder + " " + more);
  }
};

TEST_F(RoutingTraces, AReplayMakesTheChoicesOfAnotherRun) {
  ASSERT_EQ(traced("a", "--train-iters 2"), 0) << output_;
  ASSERT_EQ(traced("b", "--train-iters 2 --seed 99"), 0) << output_;
  ASSERT_EQ(traced("c", "--train-iters 2 --seed 99 --moe-routing-replay-path " + root_ + "/a"), 0) << output_;
  for (int64_t step = 1; step <= 2; ++step) {
    for (int64_t layer = 0; layer < 2; ++layer) {
      const std::vector<int16_t> chosen = choices("a", step, 0, layer);
      EXPECT_EQ(chosen.size(), 2u * 32 * 2);
      EXPECT_NE(choices("b", step, 0, layer), chosen);
      EXPECT_EQ(choices("c", step, 0, layer), chosen);
    }
  }
}

TEST_F(RoutingTraces, ReplayingItselfChangesNothing) {
  const std::string layout =
      "--train-iters 2 --global-batch-size 8 --ranks-as-threads 2 --expert-model-parallel-size 2 ";
  const auto losses = [this] {
    std::string out;
    for (size_t at = output_.find("lm loss:"); at != std::string::npos; at = output_.find("lm loss:", at + 1))
      out += output_.substr(at, 24);
    return out;
  };
  ASSERT_EQ(traced("a", layout), 0) << output_;
  const std::string first = losses();
  EXPECT_NE(first, "");
  ASSERT_EQ(traced("b", layout + "--moe-routing-replay-path " + root_ + "/a"), 0) << output_;
  EXPECT_EQ(losses(), first);
  for (int64_t rank = 0; rank < 2; ++rank) EXPECT_EQ(choices("a", 2, rank, 1), choices("b", 2, rank, 1));
  EXPECT_NE(choices("a", 2, 0, 1), choices("a", 2, 1, 1));
}

TEST_F(RoutingTraces, WritesAsManyStepsAsAskedFor) {
  ASSERT_EQ(traced("a", "--train-iters 3 --moe-routing-trace-max-training-iters 2"), 0) << output_;
  EXPECT_TRUE(std::filesystem::exists(root_ + "/a/iter_0000002/rank_00000.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/a/iter_0000003"));
  EXPECT_EQ(train("--lr 1e-3 --train-iters 3 --moe-routing-replay-path " + root_ + "/a"), 1);
  EXPECT_TRUE(printed("step 3 of rank 0 was not traced")) << output_;
  EXPECT_EQ(train("--lr 1e-3 --train-iters 2 --moe-router-topk 1 --moe-router-pre-softmax --moe-routing-replay-path " +
                  root_ + "/a"),
            1);
  EXPECT_TRUE(printed("64 tokens of 2 choices are to be replayed, this rank routes 64 of 1")) << output_;
}

}  // namespace
}  // namespace conclave

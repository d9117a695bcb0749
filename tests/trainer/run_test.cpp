// The program as a user runs it: exit codes, signals, stopping and resuming, a bad result.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/file.h"
#include "checkpoint/difference.h"
#include "checkpoint/directory.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

const char* kSmall =
    " --num-layers 2 --hidden-size 32 --num-attention-heads 2 --seq-length 32 --ffn-hidden-size 64 "
    "--moe-ffn-hidden-size 32 --num-experts 4"
    " --moe-aux-loss-coeff 0.01 --swiglu --disable-bias-linear --normalization RMSNorm --position-embedding-type rope "
    "--attention-dropout 0.1"
    " --hidden-dropout 0.1 --micro-batch-size 2 --global-batch-size 4 --mock-data --vocab-size 64 --log-interval 1 "
    "--eval-iters 0 --progress off";

class Run : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = (fs::temp_directory_path() / ("conclave_run_" + std::to_string(::getpid()))).string();
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  /// Exit code of `conclave train SMALL MORE`; what it printed is in output_.
  int train(const std::string& more) {
    const std::string log = root_ + "/log";
    const std::string command = std::string("OMP_NUM_THREADS=1 ") + CONCLAVE_BINARY + " train" + kSmall +
                                " --data-cache-path " + root_ + "/cache " + more + " > " + log + " 2>&1";
    const int status = std::system(command.c_str());
    output_ = read_file(log);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string root_;
  std::string output_;
};

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

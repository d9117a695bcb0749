// Whole jobs under mpirun that a rank's death or strangeness ends: the cause is named at once, nobody stays, the last
// checkpoint is good and the run goes on from it as if nothing had happened.
#include <sys/stat.h>

#include <map>
#include <vector>

#include "base/text.h"
#include "checkpoint/directory.h"
#include "comm/launched_jobs.h"
#include "trainer/metrics.h"
#include "trainer/small_runs.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kIterations = 6, kSaveInterval = 2;

bool full_form() { return std::getenv("CONCLAVE_TEST_FULL") != nullptr; }

struct Death {
  const char* when;
  int64_t iteration;
  const char* name;  ///< of the collective that the rank does not live to call
  int64_t count;
  int64_t last_saved;
};

class JobFaults : public SmallRuns {
 protected:
  void SetUp() override {
    if (const std::string why = launch_obstacle(); !why.empty()) GTEST_SKIP() << why;
    SmallRuns::SetUp();
  }

  // Two stages of two ranks, which share the experts of their stage and the data.
  std::string words(const std::string& run, const std::string& data = kMockData, const std::string& more = "") const {
    return fmt::format(
        "{}{} --data-cache-path {}/cache --lr 1e-2 --train-iters {} --save-interval {} --save {} --load {} "
        "--pipeline-model-parallel-size 2 --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall "
        "--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather --check-collectives "
        "--global-batch-size 8 {}",
        kSmallModel, data, root_, kIterations, kSaveInterval, run, run, more);
  }
  static std::string ranks(int count, const std::string& train_words) {
    return fmt::format("-np {} {} train {}", count, program_path(), train_words);
  }

  void expect_end(const Job& job, const std::vector<std::string>& cause) {
    EXPECT_NE(job.exit_code, 0) << job.output;
    EXPECT_EQ(occurrences(job.output, "conclave: rank "), 1) << job.output;
    for (const std::string& text : cause) EXPECT_GT(occurrences(job.output, text), 0) << text << "\n" << job.output;
    EXPECT_FALSE(stays(program_path()));
    EXPECT_FALSE(stays(job_ranks_path()));
  }

  // Seconds from the fault to now.
  double since_fault() const {
    struct stat status {};
    if (stat((root_ + "/fault").c_str(), &status) != 0) return 1e9;
    struct timespec now {};
    clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<double>(now.tv_sec - status.st_mtim.tv_sec) +
           1e-9 * static_cast<double>(now.tv_nsec - status.st_mtim.tv_nsec);
  }

  Job with_fault(const std::string& fault, const std::string& train_words) {
    fs::remove(root_ + "/fault");
    return run_mpirun(
        fmt::format("-x FAULT_MARK={}/fault -np 4 {} {} {}", root_, job_ranks_path(), fault, train_words));
  }

  static std::map<int64_t, double> losses(const std::string& run) {
    std::map<int64_t, double> out;
    for (const Json& record : read_metrics(run + "/metrics.jsonl").train)
      out[record.at("iteration").as_int()] = record.at("lm_loss").as_double();
    return out;
  }

  void kill_and_resume(const Death& death, int64_t rank, const std::map<int64_t, double>& calm) {
    SCOPED_TRACE(fmt::format("rank {} killed during {}", rank, death.when));
    const std::string run = fmt::format("{}/{}_{}", root_, death.when, rank);
    const Job job =
        with_fault(fmt::format("kill {} {} '{}' {}", rank, death.iteration, death.name, death.count), words(run));
    EXPECT_LT(since_fault(), 10) << job.output;
    expect_end(job, {fmt::format("conclave: rank {}: its process ended without a word", rank)});
    ASSERT_FALSE(list_checkpoints(run).empty()) << job.output;
    EXPECT_EQ(list_checkpoints(run).back(), death.last_saved);
    EXPECT_EQ(shell(conclave("inspect " + run + " --verify")), 0) << output_;
    const Job again = run_mpirun(ranks(4, words(run)));
    EXPECT_EQ(again.exit_code, 0) << again.output;
    EXPECT_EQ(losses(run), calm);
  }
};

TEST_F(JobFaults, ARankThatIsKilledIsNamedAndTheRunGoesOn) {
  const std::string calm = root_ + "/calm";
  const Job job = run_mpirun(ranks(4, words(calm)));
  ASSERT_EQ(job.exit_code, 0) << job.output;
  const std::map<int64_t, double> losses_alone = losses(calm);
  ASSERT_EQ(losses_alone.size(), static_cast<size_t>(kIterations));
  const std::vector<Death> deaths = {
      {"forward", 3, "dispatch", 1, 2}, {"reduction", 4, "gradients", 1, 2}, {"save", 4, "checkpoint agreement", 2, 2}};
  for (size_t i = 0; i < deaths.size(); ++i) {
    // First stage and last, both replicas of the data, both halves of the experts.
    for (int64_t rank = 0; rank < 4; ++rank) {
      if (full_form() || rank == static_cast<int64_t>(i + 1)) kill_and_resume(deaths[i], rank, losses_alone);
    }
  }
}

TEST_F(JobFaults, ARankWithOtherOptionsIsNamed) {
  const std::string run = root_ + "/run";
  const std::string mine = words(run);
  const auto started = [&](const std::string& others, const std::string& odd) {
    const Job job = run_mpirun(ranks(2, others) + " : " + ranks(1, odd) + " : " + ranks(1, others));
    EXPECT_LT(job.seconds, 15) << job.output;
    EXPECT_FALSE(fs::exists(run));
    return job;
  };
  expect_end(started(mine, mine + " --lr 2e-2"),
             {"rank 2: this rank was started with other options than rank 0: --lr is 0.02 here, 0.01 there"});
  expect_end(started(mine, mine + " --no-check-collectives"),
             {"rank 2: this rank", "--check-collectives is false here"});
  expect_end(started(mine, mine + " --no-such-option"), {"rank 2: ", "there is no option --no-such-option"});
  expect_end(started(mine, mine + " --pipeline-model-parallel-size 1"),
             {"rank 2: this rank", "--pipeline-model-parallel-size is 1 here, 2 there"});
}

TEST_F(JobFaults, ARankWithOtherDataIsNamed) {
  prepare_text("A line of a text to learn from, and some more of it.", 400);
  const std::string same = on_text();
  // As long as the first, to the byte.
  const std::string line = "A line of a text to learn from, and some more of It.";
  fs::create_directories(root_ + "/other");
  std::string content;
  for (int i = 0; i < 400; ++i) content += line + "\n\n";
  write_file_atomically(root_ + "/other/text.txt", content);
  ASSERT_EQ(shell(conclave("preprocess --input " + root_ +
                           "/other/text.txt --tokenizer-type ByteTokenizer --append-eod "
                           "--output-prefix " +
                           root_ + "/other/data")),
            0)
      << output_;
  const std::string other = replace_all(same, root_ + "/data", root_ + "/other/data");
  const std::string run = root_ + "/run";
  const Job job = run_mpirun(ranks(3, words(run, same)) + " : " + ranks(1, words(run, other)));
  EXPECT_LT(job.seconds, 15) << job.output;
  expect_end(job, {"rank 3: this rank has other data than rank 0: training data is"});
}

TEST_F(JobFaults, ARankThatRunsOtherCodeIsNamed) {
  const std::string run = root_ + "/run";
  const Job job = with_fault("stray 2 3 gradients 1", words(run));
  EXPECT_LT(since_fault(), 10) << job.output;
  expect_end(job, {"rank 2 called", "'a stray call'"});
  EXPECT_EQ(list_checkpoints(run).back(), 2);
  EXPECT_EQ(shell(conclave("inspect " + run + " --verify")), 0) << output_;
}

}  // namespace
}  // namespace conclave

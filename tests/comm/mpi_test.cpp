// The same cases as for threads, by processes under mpirun; and how such jobs end when a rank fails.
#include <gtest/gtest.h>

#include <cstdlib>

#include "comm/failing_ranks.h"
#include "comm/launched_jobs.h"
#include "comm/launcher.h"

namespace conclave {
namespace {

Job launch(int ranks, const std::string& arguments) {
  return run_mpirun(fmt::format("-np {} {} {}", ranks, CONCLAVE_COMM_RANKS, arguments));
}

class Processes : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (const std::string why = launch_obstacle(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_P(Processes, EqualPlainLoops) {
  for (const char* mode : {"cases", "cases checked"}) {
    const Job job = launch(GetParam(), mode);
    EXPECT_EQ(job.exit_code, 0) << job.output;
    EXPECT_EQ(occurrences(job.output, fmt::format("of {0} by mpi, {0} a machine", GetParam())), GetParam())
        << job.output;
  }
}
INSTANTIATE_TEST_SUITE_P(Ranks, Processes, testing::Values(2, 3, 4));

class ProcessFailures : public Processes {};
INSTANTIATE_TEST_SUITE_P(Ranks, ProcessFailures, testing::Values(3));

TEST_P(ProcessFailures, EndTheJobWithTheCauseOnce) {
  for (const cases::FailingJob& failing : cases::failing_jobs()) {
    SCOPED_TRACE(failing.name);
    const Job job = launch(GetParam(), "fail '" + failing.name + "'");
    EXPECT_EQ(job.exit_code, failing.exit_code) << job.output;
    EXPECT_EQ(occurrences(job.output, "conclave: rank "), 1) << job.output;
    for (const std::string& word : failing.cause)
      EXPECT_EQ(occurrences(job.output, word) > 0, true) << word << "\n" << job.output;
    EXPECT_LT(job.seconds, 10 + failing.settings.timeout_seconds) << job.output;
    EXPECT_FALSE(stays(CONCLAVE_COMM_RANKS));
  }
}

// The same under srun, in a Slurm that is started for it.
TEST(Slurm, RunsRanksAndEndsThem) {
  if (std::getenv("CONCLAVE_TEST_FULL") == nullptr) GTEST_SKIP() << "in ./run test full only";
  if (!mpi_is_built_in()) GTEST_SKIP() << "built without MPI (package libopenmpi-dev)";
  const auto in_slurm = [](const std::string& arguments) {
    return run_command(fmt::format("{} {}/tests/comm/slurm/one_node.sh -n 3 {} {}", kLaunchEnvironment,
                                   CONCLAVE_SOURCE_DIR, CONCLAVE_COMM_RANKS, arguments));
  };
  const Job cases = in_slurm("cases");
  if (cases.exit_code == 77) GTEST_SKIP() << cases.output;
  EXPECT_EQ(cases.exit_code, 0) << cases.output;
  EXPECT_EQ(occurrences(cases.output, "of 3 by mpi"), 3) << cases.output;
  const Job failing = in_slurm("fail 'asks for an exit code'");
  EXPECT_EQ(failing.exit_code, 16) << failing.output;
  EXPECT_EQ(occurrences(failing.output, "conclave: rank 1: "), 1) << failing.output;
  const Job killed = in_slurm("fail 'is killed'");
  EXPECT_NE(killed.exit_code, 0) << killed.output;
  EXPECT_EQ(occurrences(killed.output, "conclave: rank 1: "), 1) << killed.output;
  EXPECT_LT(killed.seconds, 20) << killed.output;
}

// Nothing of MPI happens where no launcher started the program.
TEST(Launcher, IsNotThere) {
  ASSERT_FALSE(is_launched());
  int runs = 0;
  run_in_world({}, [&](World& world) {
    EXPECT_STREQ(world.transport(), "self");
    EXPECT_EQ(world.size(), 1);
    ++runs;
  });
  EXPECT_EQ(runs, 1);
}

TEST(Launcher, IsKnownByItsEnvironment) {
  EXPECT_FALSE(launched_rank());
  setenv("OMPI_COMM_WORLD_RANK", "3", 1);
  EXPECT_EQ(launched_rank(), 3);
  unsetenv("OMPI_COMM_WORLD_RANK");
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    setenv(name, "1", 1);
    EXPECT_TRUE(is_launched()) << name;
    unsetenv(name);
  }
  setenv("SLURM_PROCID", "0", 1);  // also there in a batch script, outside any srun
  EXPECT_FALSE(is_launched());
  unsetenv("SLURM_PROCID");
}

}  // namespace
}  // namespace conclave

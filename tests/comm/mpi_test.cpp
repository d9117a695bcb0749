// The same cases as for threads, by processes under mpirun; and how such jobs end when a rank fails.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/clock.h"
#include "comm/failing_ranks.h"
#include "comm/launcher.h"

namespace conclave {
namespace {

struct Job {
  std::string output;  ///< both streams of all ranks and of the launcher
  int exit_code = 0;
  double seconds = 0;
};

// Why no processes can be started here; empty: they can.
std::string obstacle() {
  if (!mpi_is_built_in()) return "built without MPI (package libopenmpi-dev)";
  if (std::system("command -v mpirun >/dev/null 2>&1") != 0) return "there is no mpirun (package openmpi-bin)";
  return "";
}

Job run_command(const std::string& command) {
  Job job;
  const Stopwatch watch;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer{};
  for (size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    job.output.append(buffer.data(), got);
  }
  const int status = pclose(pipe);
  job.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  job.seconds = watch.seconds();
  return job;
}

// Under a sanitizer the library's own leaks at exit are not ours to report.
constexpr const char* kEnvironment =
    "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ASAN_OPTIONS=detect_leaks=0 timeout 100";

Job launch(int ranks, const std::string& arguments) {
  return run_command(fmt::format("{} mpirun -quiet --oversubscribe --bind-to none -np {} {} {}", kEnvironment, ranks,
                                 CONCLAVE_COMM_RANKS, arguments));
}

int occurrences(const std::string& text, const std::string& word) {
  int count = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

class Processes : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (const std::string why = obstacle(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_P(Processes, EqualPlainLoops) {
  for (const char* mode : {"cases", "cases checked"}) {
    const Job job = launch(GetParam(), mode);
    EXPECT_EQ(job.exit_code, 0) << job.output;
    EXPECT_EQ(occurrences(job.output, fmt::format("of {0} by mpi, {0} a machine", GetParam())), GetParam()) << job.output;
  }
}
INSTANTIATE_TEST_SUITE_P(Ranks, Processes, testing::Values(2, 3, 4));

bool has_process(const std::string& word) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::error_code ignored;
    const std::string program = std::filesystem::read_symlink(entry.path() / "exe", ignored).string();
    if (program == word) return true;
  }
  return false;
}

// The launcher may be gone a moment before the last process that it ended.
bool stays(const std::string& word) {
  const Stopwatch watch;
  while (has_process(word)) {
    if (watch.seconds() > 5) return true;
    usleep(50'000);
  }
  return false;
}

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
    return run_command(fmt::format("{} {}/tests/comm/slurm/one_node.sh -n 3 {} {}", kEnvironment, CONCLAVE_SOURCE_DIR,
                                   CONCLAVE_COMM_RANKS, arguments));
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

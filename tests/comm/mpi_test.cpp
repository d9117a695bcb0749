// The same cases as for threads, by processes under mpirun; and how such jobs end when a rank fails.
#include <gtest/gtest.h>

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

Job launch(int ranks, const std::string& arguments) {
  // Under a sanitizer the library's own leaks at exit are not ours to report.
  const std::string command = fmt::format(
      "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ASAN_OPTIONS=detect_leaks=0 timeout 100 mpirun -quiet "
      "--oversubscribe --bind-to none -np {} {} {} 2>&1",
      ranks, CONCLAVE_COMM_RANKS, arguments);
  Job job;
  const Stopwatch watch;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer{};
  for (size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    job.output.append(buffer.data(), got);
  }
  const int status = pclose(pipe);
  job.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  job.seconds = watch.seconds();
  return job;
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
    EXPECT_EQ(occurrences(job.output, fmt::format("of {} by mpi", GetParam())), GetParam()) << job.output;
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
    EXPECT_FALSE(has_process(CONCLAVE_COMM_RANKS));
  }
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

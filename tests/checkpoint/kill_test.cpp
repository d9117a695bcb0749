// SIGKILL at random instants of a process that does nothing but save: what it leaves is always a complete checkpoint,
// and the next process goes on from there.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "checkpoint/checkpoint_cases.h"
#include "checkpoint/writer.h"
#include "comm/communicator.h"

namespace conclave {
namespace {

// Saves for ever, as a run that goes on from the latest checkpoint, beginning with that iteration (which replaces it)
// or the next.
[[noreturn]] void save_for_ever(const std::string& run_directory, SaveMode mode, int64_t first) {
  const auto device = make_device("cpu");
  const auto world = make_self_communicator("world");
  CheckpointWriterSettings settings;
  settings.run_directory = run_directory;
  settings.mode = mode;
  settings.retention = {0, 3};
  CheckpointWriter writer(settings, *world, device->default_stream());
  std::vector<StoredTensor> tensors = cases::some_tensors();
  tensors.pop_back();  // without the long one, so that the short phases of a save are hit more often
  for (int64_t iteration = find_checkpoint(run_directory)->iteration + first;; ++iteration) {
    std::vector<cases::Held> held;
    for (const StoredTensor& tensor : tensors)
      held.push_back(cases::hold(tensor, ShardSpec::whole(tensor.shape), iteration));
    writer.save(iteration, cases::as_tensors(held), Json::object());
  }
}

std::string fault_of_latest(const std::string& run_directory) {
  const auto found = find_checkpoint(run_directory);
  if (!found) return "no checkpoint";
  const CheckpointReader reader(found->directory);
  std::string faults;
  for (const CheckpointFault& fault : reader.verify()) faults += fault.text;
  for (const StoredTensor& tensor : reader.tensors())
    faults += cases::contents_fault(reader, tensor.name, ShardSpec::whole(tensor.shape), found->iteration);
  if (reader.tensors().size() + 1 != cases::some_tensors().size()) faults += "tensors are missing";
  return faults;
}

TEST(Kill, EveryInstantLeavesACompleteCheckpoint) {
  const cases::TemporaryFolder folder;
  const std::string run = folder / "run";
  double one_save = 0;
  {
    const auto device = make_device("cpu");
    const auto world = make_self_communicator("world");
    CheckpointWriterSettings settings;
    settings.run_directory = run;
    CheckpointWriter writer(settings, *world, device->default_stream());
    std::vector<cases::Held> held;
    for (const StoredTensor& tensor : cases::some_tensors())
      held.push_back(cases::hold(tensor, ShardSpec::whole(tensor.shape), 1));
    held.pop_back();
    const Stopwatch watch;
    writer.save(1, cases::as_tensors(held), Json::object());
    one_save = watch.seconds();
  }
  std::mt19937 random(8);
  set_log_level(LogLevel::kWarning);
  int inside_a_save = 0;
  int64_t last = 1;
  // At least 50; more where the disk is so slow that few saves came to their end.
  for (int kill = 0; kill < 50 || (kill < 500 && (last < 10 || inside_a_save < 10)); ++kill) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) save_for_ever(run, kill % 2 == 0 ? SaveMode::kNow : SaveMode::kBackground, kill % 3 == 0 ? 0 : 1);
    ::usleep(static_cast<useconds_t>(std::uniform_real_distribution<double>(0, 4e6 * one_save + 1e4)(random)));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself";
    for (const auto& entry : std::filesystem::directory_iterator(run)) {
      if (entry.path().string().find(".partial.") != std::string::npos) ++inside_a_save;
    }
    ASSERT_EQ(fault_of_latest(run), "") << "kill " << kill;
    const int64_t now = find_checkpoint(run)->iteration;
    ASSERT_GE(now, last);  // never back
    last = now;
  }
  EXPECT_GE(last, 10);
  EXPECT_GE(inside_a_save, 10);
  clean_run_directory(run);
  for (const auto& entry : std::filesystem::directory_iterator(run)) {
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(name == kLatestFile || file_exists(entry.path().string() + "/manifest.json")) << name;
  }
}

}  // namespace
}  // namespace conclave

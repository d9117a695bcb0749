// A training run that is killed at random instants and resumed each time ends with the same bits as one left alone;
// what it printed of its losses is whole.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/text.h"
#include "checkpoint/difference.h"
#include "checkpoint/directory.h"
#include "trainer/metrics.h"
#include "trainer/small_runs.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kIterations = 60;

bool full_form() { return std::getenv("CONCLAVE_TEST_FULL") != nullptr; }

std::vector<std::string> train_words(const std::string& run, bool background) {
  std::vector<std::string> words = {program_path(), "train"};
  for (const std::string& text :
       {std::string(kSmallModel), std::string(kMockData),
        fmt::format("--data-cache-path {0}/../cache --lr 1e-2 --save-interval 3 --train-iters {1} "
                    "--threads 1 --save {0} --load {0}",
                    run, kIterations)}) {
    for (const std::string& word : split_words(text)) words.push_back(word);
  }
  if (background) words.insert(words.end(), {"--async-save"});
  return words;
}

pid_t start(const std::vector<std::string>& words, const std::string& log) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::dup2(out, 1);
  ::dup2(out, 2);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execv(arguments[0], arguments.data());
  ::_exit(127);
}

int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

int64_t size_of(const std::string& path) { return file_exists(path) ? file_size(path) : 0; }

// Lets the child go on until its run has told of `lines` more steps (or it ends), then a random moment longer: whatever
// the machine's pace, each life makes some headway, and the instant of death is anywhere in a step or a save.
void let_live(pid_t child, const std::string& metrics, int64_t lines, std::chrono::microseconds longer) {
  constexpr int64_t kLineBytes = 300;
  const int64_t enough = size_of(metrics) + lines * kLineBytes;
  siginfo_t ended = {};
  while (size_of(metrics) < enough) {
    ::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT);
    if (ended.si_pid == child) return;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  std::this_thread::sleep_for(longer);
}

// Training losses of a run by iteration.
std::map<int64_t, double> losses(const std::string& run) {
  std::map<int64_t, double> out;
  for (const Json& record : read_metrics(run + "/metrics.jsonl").train)
    out[record.at("iteration").as_int()] = record.at("lm_loss").as_double();
  return out;
}

class Kill : public ::testing::TestWithParam<bool> {};

TEST_P(Kill, AtAnyInstantLosesNothing) {
  const std::string root =
      (fs::temp_directory_path() / ("conclave_kill_" + std::to_string(::getpid()) + (GetParam() ? "_async" : "")))
          .string();
  fs::remove_all(root);
  fs::create_directories(root);
  const std::string calm = root + "/calm", shaken = root + "/shaken", log = root + "/log";
  ASSERT_EQ(wait_for(start(train_words(calm, false), log)), 0) << read_file(log);

  std::mt19937 random(7);
  const int wanted = full_form() ? 50 : 6;
  int kills = 0;
  int status = 0;
  // Each life is short enough that a run takes many; when the kills are spent it may finish.
  for (int life = 0; life < 20 * wanted; ++life) {
    const pid_t child = start(train_words(shaken, GetParam()), log);
    if (kills < wanted) {
      let_live(child, shaken + "/metrics.jsonl", 1 + static_cast<int64_t>(random() % 12),
               std::chrono::microseconds(random() % 20000));
      ::kill(child, SIGKILL);
    }
    status = wait_for(child);
    if (WIFSIGNALED(status)) {
      ASSERT_EQ(WTERMSIG(status), SIGKILL) << read_file(log);
      ++kills;
    } else {
      ASSERT_EQ(status, 0) << read_file(log);
      if (kills >= wanted) break;
      fs::remove_all(
          shaken + "/iter_" +
          std::string("0000060"));  // it came through before the kills were spent: back to an earlier checkpoint
      write_file_atomically(shaken + "/latest_checkpointed_iteration.txt",
                            std::to_string(list_checkpoints(shaken).back()));
    }
  }
  EXPECT_GE(kills, wanted);
  const CheckpointReader a(calm + "/" + checkpoint_name(kIterations)), b(shaken + "/" + checkpoint_name(kIterations));
  for (const TensorDifference& difference : compare_checkpoints(a, b)) {
    EXPECT_EQ(difference.kind, TensorDifference::Kind::kEqual) << difference.name;
  }
  EXPECT_EQ(losses(calm), losses(shaken));
  EXPECT_EQ(losses(calm).size(), static_cast<size_t>(kIterations));
  fs::remove_all(root);
}

INSTANTIATE_TEST_SUITE_P(Saves, Kill, ::testing::Values(false, true),
                         [](const auto& tested) { return tested.param ? "in_background" : "at_once"; });

}  // namespace
}  // namespace conclave

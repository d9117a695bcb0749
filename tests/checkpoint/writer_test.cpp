// Saving by one rank and by several, at once and in the background; failures.
#include "checkpoint/writer.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>

#include "base/file.h"
#include "checkpoint/checkpoint_cases.h"
#include "checkpoint/part_writer.h"
#include "checkpoint/thread_ranks.h"

namespace conclave {
namespace {

using cases::error_text;
using cases::TemporaryFolder;

std::vector<cases::Held> whole_state(int64_t iteration) {
  std::vector<cases::Held> held;
  for (const StoredTensor& tensor : cases::some_tensors())
    held.push_back(cases::hold(tensor, ShardSpec::whole(tensor.shape), iteration));
  return held;
}

CheckpointWriterSettings settings_for(const std::string& directory, SaveMode mode) {
  CheckpointWriterSettings settings;
  settings.run_directory = directory;
  settings.mode = mode;
  return settings;
}

int64_t entries_in(const std::string& directory) {
  int64_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}

class Alone : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::unique_ptr<Device> device_ = make_device("cpu");
  std::unique_ptr<Communicator> world_ = make_self_communicator("world");

  CheckpointWriter writer(SaveMode mode, Retention retention = {}) {
    CheckpointWriterSettings settings = settings_for(folder_.path() + "/run", mode);
    settings.retention = retention;
    return CheckpointWriter(settings, *world_, device_->default_stream());
  }
  void save(CheckpointWriter& writer, int64_t iteration) {
    const auto held = whole_state(iteration);
    Json state = Json::object();
    state["consumed_samples"] = iteration * 8;
    EXPECT_GT(writer.save(iteration, cases::as_tensors(held), state), 0);
  }
  std::string latest_fault(int64_t iteration) {
    const auto found = find_checkpoint(folder_ / "run");
    if (!found || found->iteration != iteration) return "the latest is another one";
    const CheckpointReader reader(found->directory);
    if (reader.state().at("consumed_samples").as_int() != iteration * 8) return "another state";
    return cases::contents_fault(reader, iteration);
  }
};

TEST_F(Alone, SavesNow) {
  CheckpointWriter saver = writer(SaveMode::kNow);
  EXPECT_EQ(entries_in(folder_ / "run"), 0);
  save(saver, 10);
  EXPECT_FALSE(saver.in_flight());
  EXPECT_EQ(latest_fault(10), "");
  const auto reports = saver.poll();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].iteration, 10);
  EXPECT_EQ(reports[0].directory, folder_ / "run/iter_0000010");
  int64_t bytes = 0;
  for (const StoredTensor& tensor : cases::some_tensors()) bytes += tensor.bytes();
  EXPECT_EQ(reports[0].bytes, bytes);
  EXPECT_GE(reports[0].stall_seconds, reports[0].write_seconds);
  EXPECT_GT(reports[0].write_seconds, 0);
  EXPECT_TRUE(saver.poll().empty());
  save(saver, 10);  // takes the place of the first
  save(saver, 20);
  EXPECT_EQ(latest_fault(20), "");
  EXPECT_EQ(saver.finish().size(), 2u);
  EXPECT_EQ(entries_in(folder_ / "run"), 3);  // two checkpoints and the name of the latest
}

TEST_F(Alone, BackgroundSavesKeepTheMomentOfTheCall) {
  {
    CheckpointWriter saver = writer(SaveMode::kBackground);
    auto held = whole_state(10);
    Json state = Json::object();
    state["consumed_samples"] = 80;
    saver.save(10, cases::as_tensors(held), state);
    for (cases::Held& each : held) std::fill(each.bytes.begin(), each.bytes.end(), std::byte{1});  // training goes on
    state["consumed_samples"] = -1;
    EXPECT_TRUE(saver.in_flight());
    const auto reports = saver.finish();
    ASSERT_EQ(reports.size(), 1u);
    EXPECT_GT(reports[0].stall_seconds, 0);
    EXPECT_GE(reports[0].write_seconds, reports[0].stall_seconds / 2);
    EXPECT_EQ(latest_fault(10), "");
    save(saver, 20);
    save(saver, 30);  // waits for 20: at most one is under way
    EXPECT_TRUE(file_exists(folder_ / "run/iter_0000020/manifest.json"));
  }
  EXPECT_EQ(latest_fault(30), "");  // the destructor waited
}

TEST_F(Alone, PollNeverWaitsAndReportsOnce) {
  CheckpointWriter saver = writer(SaveMode::kBackground);
  save(saver, 1);
  size_t reports = 0;
  while (saver.in_flight()) reports += saver.poll().size();
  EXPECT_EQ(reports, 1u);
  EXPECT_TRUE(saver.finish().empty());
  EXPECT_EQ(latest_fault(1), "");
}

TEST_F(Alone, Retention) {
  CheckpointWriter saver = writer(SaveMode::kBackground, {4, 2});
  for (int64_t iteration = 1; iteration <= 10; ++iteration) save(saver, iteration);
  saver.finish();
  EXPECT_EQ(list_checkpoints(folder_ / "run"), (std::vector<int64_t>{4, 8, 9, 10}));
  EXPECT_EQ(entries_in(folder_ / "run"), 5);
}

TEST_F(Alone, AFileInTheWayIsNamed) {
  write_file_atomically(folder_ / "run", "not a directory");
  const std::string text = error_text([&] { writer(SaveMode::kNow); });
  EXPECT_NE(text.find(folder_ / "run"), std::string::npos) << text;
  EXPECT_NE(error_text([&] { writer(SaveMode::kNow); }), "no error");
}

TEST_F(Alone, AFailureLeavesTheLastGoodAndTheWriterGoesOn) {
  for (const SaveMode mode : {SaveMode::kNow, SaveMode::kBackground}) {
    CheckpointWriter saver = writer(mode);
    save(saver, 10);
    saver.finish();
    make_directories(folder_ / "run/latest_checkpointed_iteration.txt.tmp." + std::to_string(::getpid()) + "/x");
    const std::string text = error_text([&] {
      save(saver, 20);
      saver.finish();
    });
    EXPECT_NE(text.find("[checkpoint/save] iter_0000020 was not written to '" + (folder_ / "run") + "': "),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("the last complete one, iter_0000010, is untouched"), std::string::npos) << text;
    EXPECT_FALSE(saver.in_flight());
    EXPECT_FALSE(file_exists(PartialDirectory::path_for(folder_ / "run", 20, ::getpid())));
    EXPECT_EQ(latest_fault(10), "");
    save(saver, 30);
    saver.finish();
    EXPECT_EQ(latest_fault(30), "");
    remove_all(folder_ / "run");
  }
}

// Runs `work` in a child process and returns what it wrote; for limits and mounts that must not outlive the test.
std::string in_child(const std::function<std::string()>& work) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string text = work();
    const ssize_t written = ::write(ends[1], text.data(), text.size());
    ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = ::read(ends[0], buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<size_t>(count));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? text : "the child died";
}

// A small file system of the child's own; false without permission.
bool mount_small(const std::string& place, const char* options) {
  make_directories(place);
  if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  return ::mount("none", place.c_str(), "tmpfs", 0, options) == 0;
}

TEST_F(Alone, FullDisk) {
  for (const SaveMode mode : {SaveMode::kNow, SaveMode::kBackground}) {
    const std::string text = in_child([&]() -> std::string {
      // One checkpoint takes about 6 MB: the second does not fit.
      if (!mount_small(folder_ / "run", "size=9m")) return "no mount";
      CheckpointWriter saver = writer(mode);
      save(saver, 10);
      saver.finish();
      const std::string error = error_text([&] {
        save(saver, 20);
        saver.finish();
      });
      const std::string fault = latest_fault(10);
      return error + "|" + fault + "|" + std::to_string(entries_in(folder_ / "run"));
    });
    if (text == "no mount") GTEST_SKIP() << "a tmpfs cannot be mounted here";
    EXPECT_NE(text.find("No space left on device; free some space or choose another place; the last complete one, "
                        "iter_0000010, is untouched||2"),
              std::string::npos)
        << text;
  }
}

TEST_F(Alone, FileSizeLimit) {
  const std::string text = in_child([&] {
    CheckpointWriter saver = writer(SaveMode::kNow);
    save(saver, 10);
    ::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limit { 1 << 20, 1 << 20 };
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string error = error_text([&] { save(saver, 20); });
    return error + "|" + latest_fault(10) + "|" + std::to_string(entries_in(folder_ / "run"));
  });
  EXPECT_NE(text.find("rank_00000.safetensors': File too large; the last complete one, iter_0000010, is untouched||2"),
            std::string::npos)
      << text;
}

TEST_F(Alone, ReadOnlyDirectory) {
  const std::string text = in_child([&]() -> std::string {
    if (!mount_small(folder_ / "run", "size=9m")) return "no mount";
    std::string errors;
    {
      CheckpointWriter saver = writer(SaveMode::kNow);
      save(saver, 10);
      ::mount("none", (folder_ / "run").c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr);
      errors = error_text([&] { save(saver, 20); });
    }
    return errors + "|" + error_text([&] { writer(SaveMode::kNow); }) + "|" + latest_fault(10);
  });
  if (text == "no mount") GTEST_SKIP() << "a tmpfs cannot be mounted here";
  EXPECT_NE(text.find("iter_0000020 was not written"), std::string::npos) << text;
  EXPECT_NE(text.find("Read-only file system; check the permissions of the file and its folder; the last complete one, "
                      "iter_0000010, is untouched|"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("|cannot create directory"), std::string::npos) << text;  // known before training starts
  EXPECT_TRUE(text.ends_with("|")) << text;
}

// What each rank holds: some_tensors() dealt out at random, the same on every call.
std::vector<cases::Held> share_of(int rank, int size, int64_t iteration) {
  std::mt19937 random(7);
  std::vector<cases::Held> held;
  for (const StoredTensor& tensor : cases::some_tensors()) {
    const ShardSpec shard = cases::random_split(tensor.shape, size, random)[static_cast<size_t>(rank)];
    if (!shard.boxes.empty()) held.push_back(cases::hold(tensor, shard, iteration));
  }
  return held;
}

TEST(Ranks, SaveTogether) {
  for (const SaveMode mode : {SaveMode::kNow, SaveMode::kBackground}) {
    const TemporaryFolder folder;
    std::atomic<int> reports = 0;
    cases::on_ranks(3, [&](int rank, Communicator& world, const Stream& stream) {
      CheckpointWriter saver(settings_for(folder.path(), mode), world, stream);
      for (const int64_t iteration : {5, 6}) {
        const auto held = share_of(rank, 3, iteration);
        saver.save(iteration, cases::as_tensors(held), Json::object());
        for (int step = 0; step < 3; ++step) reports += static_cast<int>(saver.poll().size());
      }
      reports += static_cast<int>(saver.finish().size());
    });
    EXPECT_EQ(reports, 6);
    for (const int64_t iteration : {5, 6}) {
      const CheckpointReader reader(folder.path() + "/" + checkpoint_name(iteration));
      EXPECT_EQ(reader.world_size(), 3);
      EXPECT_EQ(cases::contents_fault(reader, iteration), "");
      EXPECT_TRUE(reader.verify().empty());
    }
    EXPECT_EQ(find_checkpoint(folder.path())->iteration, 6);
  }
}

// One rank cannot write: all learn the cause, nothing stays behind, the next save works.
TEST(Ranks, FailTogether) {
  for (const SaveMode mode : {SaveMode::kNow, SaveMode::kBackground}) {
    const TemporaryFolder folder;
    std::vector<std::string> errors(3);
    cases::on_ranks(3, [&](int rank, Communicator& world, const Stream& stream) {
      CheckpointWriter saver(settings_for(folder.path(), mode), world, stream);
      const auto held = share_of(rank, 3, 5);
      saver.save(5, cases::as_tensors(held), Json::object());
      saver.finish();
      auto tensors = cases::as_tensors(held);
      if (rank == 1) tensors.push_back(tensors.front());  // the same twice: refused on this rank alone
      errors[static_cast<size_t>(rank)] = error_text([&] {
        saver.save(6, tensors, Json::object());
        saver.finish();
      });
      EXPECT_FALSE(saver.in_flight());
      saver.save(7, cases::as_tensors(held), Json::object());
      saver.finish();
    });
    for (const std::string& error : errors) {
      EXPECT_NE(error.find("iter_0000006 was not written"), std::string::npos) << error;
      EXPECT_NE(error.find("rank 1: "), std::string::npos) << error;
      EXPECT_NE(error.find("is saved twice"), std::string::npos) << error;
    }
    EXPECT_EQ(list_checkpoints(folder.path()), (std::vector<int64_t>{5, 7}));
    EXPECT_EQ(entries_in(folder.path()), 3);
  }
}

}  // namespace
}  // namespace conclave

#include "checkpoint/directory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "checkpoint/checkpoint_cases.h"
#include "checkpoint/part_writer.h"

namespace conclave {
namespace {

using cases::error_text;
using cases::TemporaryFolder;
using Iterations = std::vector<int64_t>;

TEST(RunDirectory, FindsCheckpoints) {
  const TemporaryFolder folder;
  EXPECT_FALSE(find_checkpoint(folder / "not there"));
  EXPECT_FALSE(find_checkpoint(folder.path()));
  EXPECT_EQ(error_text([&] { find_checkpoint(folder.path(), 3); }),
            "[checkpoint/load] --ckpt-step 3: '" + folder.path() +
                "' has no complete checkpoint of that iteration; there is no complete checkpoint in it");
  for (const int64_t iteration : {5, 10, 20}) cases::write_whole(folder.path(), iteration);
  make_directories(folder / "iter_0000030");  // no manifest: not complete
  make_directories(folder / "iter_40");
  EXPECT_EQ(list_checkpoints(folder.path()), (Iterations{5, 10, 20}));
  EXPECT_EQ(find_checkpoint(folder.path() + "/")->directory, folder / "iter_0000020");
  EXPECT_EQ(find_checkpoint(folder.path(), 10)->iteration, 10);
  EXPECT_EQ(find_checkpoint(folder / "iter_0000005")->iteration, 5);
  EXPECT_NE(error_text([&] { find_checkpoint(folder / "iter_0000005", 10); }).find("asks for another"),
            std::string::npos);
  EXPECT_NE(error_text([&] {
              find_checkpoint(folder.path(), 30);
            }).find("complete checkpoints there: 5, 10, 20; choose one with --ckpt-step"),
            std::string::npos);

  write_file_atomically(folder / kLatestFile, "30\n");
  EXPECT_NE(error_text([&] { find_checkpoint(folder.path()); }).find("names iteration 30"), std::string::npos);
  write_file_atomically(folder / kLatestFile, "ten");
  EXPECT_NE(error_text([&] { find_checkpoint(folder.path()); }).find("it holds 'ten'"), std::string::npos);
  write_file_atomically(folder / kLatestFile, "10");
  EXPECT_EQ(find_checkpoint(folder.path())->iteration, 10);
  remove_all(folder / kLatestFile);
  EXPECT_EQ(find_checkpoint(folder.path())->iteration, 20);
}

TEST(RunDirectory, RetentionRules) {
  const Iterations present = {10, 20, 30, 40, 50};
  EXPECT_EQ(superseded_checkpoints(present, 50, {}), Iterations{});
  EXPECT_EQ(superseded_checkpoints(present, 50, {0, 2}), (Iterations{10, 20, 30}));
  EXPECT_EQ(superseded_checkpoints(present, 50, {0, 9}), Iterations{});
  EXPECT_EQ(superseded_checkpoints(present, 50, {20, 0}), (Iterations{10, 30}));
  EXPECT_EQ(superseded_checkpoints(present, 50, {20, 3}), (Iterations{10}));
  EXPECT_EQ(superseded_checkpoints(present, 50, {0, 1}), (Iterations{10, 20, 30, 40}));
  EXPECT_EQ(superseded_checkpoints(present, 30, {0, 1}), (Iterations{10, 20}));  // later ones stay
}

TEST(RunDirectory, RemovesWhatDeadProcessesLeft) {
  const TemporaryFolder folder;
  cases::write_whole(folder.path(), 5);
  const pid_t child = ::fork();
  if (child == 0) {
    PartialDirectory partial(folder.path(), 6);
    write_file_atomically(folder.path() + "/" + kLatestFile + fmt::format(".tmp.{}", ::getpid()), "6");
    ::_exit(0);  // no destructor: as if killed
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(is_directory(PartialDirectory::path_for(folder.path(), 6, child)));
  make_directories(folder / "iter_0000004.removed.77");
  make_directories(folder / "iter_0000003.backup");
  const PartialDirectory living(folder.path(), 7);
  EXPECT_EQ(clean_run_directory(folder.path()), 3);
  EXPECT_FALSE(file_exists(PartialDirectory::path_for(folder.path(), 6, child)));
  EXPECT_FALSE(file_exists(folder / "iter_0000004.removed.77"));
  EXPECT_TRUE(file_exists(folder / "iter_0000003.backup"));
  EXPECT_TRUE(file_exists(living.path()));
  EXPECT_EQ(list_checkpoints(folder.path()), Iterations{5});
  EXPECT_EQ(clean_run_directory(folder / "not there"), 0);
}

TEST(RunDirectory, AdvisesTheCheckpointBefore) {
  const TemporaryFolder folder;
  for (const int64_t iteration : {5, 10, 20}) cases::write_whole(folder.path(), iteration);
  EXPECT_NE(advice_for_damaged(folder / "iter_0000020").find("--ckpt-step 10"), std::string::npos);
  EXPECT_NE(advice_for_damaged(folder / "iter_0000005").find("no earlier one"), std::string::npos);
}

}  // namespace
}  // namespace conclave

// Whole runs that meet a full disk, a directory that cannot be written, data that are gone, damaged checkpoints: a
// clear text, exit code 1, and the last good checkpoint as it was.
#include <fmt/core.h>

#include "base/text.h"
#include "checkpoint/directory.h"
#include "trainer/small_runs.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

class Faults : public SmallRuns {
 protected:
  std::string run() const { return root_ + "/run"; }
  std::string steps(int64_t count) const {
    return fmt::format("--lr 1e-3 --lr-decay-iters 100 --save-interval 2 --train-iters {0} --save {1} --load {1}",
                       count, run());
  }
  std::string on_mock_data(int64_t count) const { return train_command(fmt::format("{} {}", kMockData, steps(count))); }
  void expect_good(int64_t iteration) {
    EXPECT_EQ(list_checkpoints(run()).back(), iteration);
    EXPECT_EQ(shell(conclave("inspect " + run() + " --verify")), 0) << output_;
  }
  std::string shard_of(int64_t iteration) const {
    return run() + "/" + checkpoint_name(iteration) + "/rank_00000.safetensors";
  }
};

// A disk of its own, mounted where nobody else sees it. Exit code 77: that is not allowed here.
std::string on_small_disk(const std::string& place, const std::string& size, const std::string& commands) {
  return "mkdir -p " + place + "; unshare --mount sh -c 'mount -t tmpfs -o size=" + size + " none " + place +
         " || exit 77; " + commands + "'";
}

TEST_F(Faults, FullDisk) {
  ASSERT_EQ(train("--lr 1e-3 --train-iters 1 --save " + run()), 0) << output_;
  const auto bytes = file_size(shard_of(1));
  // Room for one checkpoint and a half, and for the log beside it.
  const std::string size = std::to_string(bytes * 3 / 2 + 200000);
  for (const std::string more : {"", " --async-save"}) {
    const int code =
        shell(on_small_disk(run(), size,
                            on_mock_data(2) + more + " || exit 78; " + on_mock_data(6) + more + "; code=$?; cat " +
                                run() + "/latest_checkpointed_iteration.txt; ls " + run() + "; " +
                                conclave("inspect " + run() + " --verify") + " || exit 79; exit $code"));
    if (code == 77) GTEST_SKIP() << "a tmpfs cannot be mounted here";
    EXPECT_EQ(code, 1) << output_;
    EXPECT_TRUE(printed("No space left on device")) << output_;
    EXPECT_TRUE(printed("free some space or choose another place; the last complete one, iter_0000002, is untouched"))
        << output_;
    EXPECT_FALSE(printed("iter_0000004\n")) << output_;
  }
}

// The same without a disk of its own: no file may grow beyond the limit.
TEST_F(Faults, FileSizeLimit) {
  ASSERT_EQ(shell(on_mock_data(2)), 0) << output_;
  EXPECT_EQ(shell("trap '' XFSZ; ulimit -f 40; " + on_mock_data(6)), 1);
  EXPECT_TRUE(printed("File too large")) << output_;
  EXPECT_TRUE(printed("iter_0000004 was not written")) << output_;
  EXPECT_TRUE(printed("iter_0000002, is untouched")) << output_;
  expect_good(2);
  ASSERT_EQ(shell(on_mock_data(6)), 0) << output_;  // and on it goes
  expect_good(6);
}

TEST_F(Faults, ReadOnlyDirectory) {
  const int code =
      shell(on_small_disk(run(), "20m",
                          on_mock_data(2) + " || exit 78; mount -o remount,ro " + run() + " && " + on_mock_data(6) +
                              "; code=$?; cat " + run() + "/latest_checkpointed_iteration.txt; " +
                              conclave("inspect " + run() + " --verify") + " || exit 79; exit $code"));
  if (code == 77) GTEST_SKIP() << "a tmpfs cannot be mounted here";
  EXPECT_EQ(code, 1) << output_;
  EXPECT_TRUE(printed("Read-only file system")) << output_;
  EXPECT_TRUE(printed("check the permissions")) << output_;
  EXPECT_FALSE(printed(" iteration        3/")) << output_;  // known before training begins
}

// Where no file system can be mounted: what stands in the way of the run directory is a file.
TEST_F(Faults, DirectoryThatCannotBeMade) {
  ASSERT_EQ(shell("touch " + run()), 0);
  EXPECT_EQ(shell(train_command(std::string(kMockData) + " --lr 1e-3 --train-iters 2 --save " + run())), 1);
  EXPECT_TRUE(printed(run())) << output_;
  EXPECT_FALSE(printed("iteration        1/")) << output_;
}

class DataFaults : public Faults {
 protected:
  void SetUp() override {
    Faults::SetUp();
    prepare_text("A line of a text to learn from, and some more of it.", 400);
  }
  std::string on_text(int64_t count) const { return train_command(SmallRuns::on_text() + " " + steps(count)); }
};

TEST_F(DataFaults, GoneBetweenStopAndResume) {
  ASSERT_EQ(shell(on_text(2)), 0) << output_;
  for (const char* ending : {".bin", ".idx"}) {
    const std::string path = data() + ending;
    fs::rename(path, path + ".away");
    EXPECT_EQ(shell(on_text(4)), 1);
    EXPECT_TRUE(printed(path)) << output_;
    expect_good(2);
    fs::rename(path + ".away", path);
  }
  ASSERT_EQ(shell(on_text(4)), 0) << output_;
  expect_good(4);
}

TEST_F(DataFaults, CutBetweenStopAndResume) {
  ASSERT_EQ(shell(on_text(2)), 0) << output_;
  fs::resize_file(data() + ".bin", 100);
  EXPECT_EQ(shell(on_text(4)), 1);
  EXPECT_TRUE(printed(data())) << output_;
  expect_good(2);
}

// The file is cut while the run reads it: no signal, the steps that were saved stay.
TEST_F(DataFaults, CutWhileTheRunGoesOn) {
  const int code = shell(on_text(100000) + " & run=$!; for i in $(seq 600); do test -e " + run() + "/" +
                         checkpoint_name(4) + " && break; sleep 0.1; done; : > " + data() + ".bin; wait $run");
  EXPECT_EQ(code, 1) << output_.substr(output_.size() > 2000 ? output_.size() - 2000 : 0);
  EXPECT_TRUE(printed(data() + ".bin"));
  const int64_t last = list_checkpoints(run()).back();
  EXPECT_GE(last, 4);
  expect_good(last);
}

TEST_F(Faults, CutShard) {
  ASSERT_EQ(shell(on_mock_data(4)), 0) << output_;
  const std::string good = read_file(shard_of(2));
  fs::resize_file(shard_of(4), static_cast<uintmax_t>(file_size(shard_of(4)) / 2));
  EXPECT_EQ(shell(on_mock_data(6)), 1);
  EXPECT_TRUE(printed(shard_of(4))) << output_;
  EXPECT_FALSE(printed("iteration        5/")) << output_;
  // The one before it is as it was, and can be gone on from.
  EXPECT_EQ(read_file(shard_of(2)), good);
  ASSERT_EQ(shell(on_mock_data(6) + " --ckpt-step 2"), 0) << output_;
  expect_good(6);
}

TEST_F(Faults, FlippedBitInAShard) {
  ASSERT_EQ(shell(on_mock_data(4)), 0) << output_;
  const std::string good = read_file(shard_of(2)), whole = read_file(shard_of(4));
  std::string damaged = whole;
  damaged[whole.size() / 2] = static_cast<char>(damaged[whole.size() / 2] ^ 1);
  write_file_atomically(shard_of(4), damaged);
  EXPECT_EQ(shell(on_mock_data(6)), 1);
  EXPECT_TRUE(printed(shard_of(4))) << output_;
  EXPECT_TRUE(printed("checksum")) << output_;
  EXPECT_FALSE(printed("iteration        5/")) << output_;
  EXPECT_EQ(read_file(shard_of(2)), good);
  EXPECT_EQ(read_file(shard_of(4)), damaged);  // left for whoever wants to look
  write_file_atomically(shard_of(4), whole);
  ASSERT_EQ(shell(on_mock_data(6)), 0) << output_;
}

}  // namespace
}  // namespace conclave

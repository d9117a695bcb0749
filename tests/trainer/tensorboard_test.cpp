#include "trainer/tensorboard.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace conclave {
namespace {

class Events : public testing::Test {
 protected:
  std::string folder_ = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "conclave_events_XXXXXX").string();
    CONCLAVE_CHECK(::mkdtemp(pattern.data()) != nullptr, "no temporary folder");
    return pattern;
  }();
  ~Events() override { std::filesystem::remove_all(folder_); }

  std::string write_some() {
    EventWriter writer(folder_);
    TrainRecord record;
    for (const int64_t iteration : {10, 20}) {
      record.iteration = iteration;
      record.consumed_samples = iteration * 8;
      record.losses = {{"lm_loss", 2.5 + static_cast<double>(iteration)}, {"load_balancing_loss", 1.25}};
      record.grad_norm = 0.5;
      record.learning_rate = 1e-4;
      record.step_ms = 250;
      write_train_events(writer, record);
    }
    write_eval_events(writer, 20, {.split = "valid", .lm_loss = 2.0, .with_perplexity = true});
    write_expert_events(writer, 20, 3, {5, 0, 7});
    return writer.path();
  }
};

TEST(WireMessage, KnownBytes) {
  WireMessage message;
  message.add_int(1, 150);  // the example of the encoding's documentation
  EXPECT_EQ(message.bytes(), std::string("\x08\x96\x01", 3));
  WireMessage all;
  all.add_int(1, -1);
  all.add_float(2, 1.0f);
  all.add_double(3, -2.0);
  all.add_bytes(16, "ab");
  all.add_doubles(4, {1.0});
  const std::string expected = std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11) +
                               std::string("\x15\x00\x00\x80\x3f", 5) +
                               std::string("\x19\x00\x00\x00\x00\x00\x00\x00\xc0", 9) +
                               std::string(
                                   "\x82\x01\x02"
                                   "ab",
                                   5) +
                               std::string("\x22\x08\x00\x00\x00\x00\x00\x00\xf0\x3f", 10);
  EXPECT_EQ(all.bytes(), expected);
}

// The first record of every event file, with its checksums as other programs write them.
TEST_F(Events, RecordsCarryTheirChecksums) {
  const std::string path = write_some();
  EXPECT_NE(path.find("/events.out.tfevents."), std::string::npos);
  const std::string text = read_file(path);
  EXPECT_EQ(text.substr(0, 8), std::string("\x18\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(text.substr(8, 4), "\xa3\x7f\x4b\x22");  // masked CRC-32C of the length 24
  const std::vector<std::string> records = read_event_records(path);
  ASSERT_EQ(records.size(), 1u + 2 * 7 + 2 + 1);
  EXPECT_EQ(records[0].substr(9),
            "\x1a\x0d"
            "brain.Event:2");
  EXPECT_NE(records[1].find("lm loss"), std::string::npos);
}

TEST_F(Events, DamageIsNamedAndTornEndsAreLeftOut) {
  const std::string path = write_some();
  const std::string good = read_file(path);
  const size_t count = read_event_records(path).size();
  for (const size_t length : {good.size() - 1, good.size() - 5, good.size() - 30}) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << good.substr(0, length);
    EXPECT_EQ(read_event_records(path).size(), count - 1);
  }
  for (const size_t place : {size_t{0}, size_t{9}, size_t{20}, size_t{37}, good.size() - 1}) {
    std::string bad = good;
    bad[place] = static_cast<char>(bad[place] ^ 16);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bad;
    EXPECT_THROW(read_event_records(path), UserError) << place;
  }
}

TEST_F(Events, ASecondWriterTakesAnotherFile) { EXPECT_NE(write_some(), write_some()); }

// What TensorBoard itself makes of the file.
TEST_F(Events, TensorBoardReadsThem) {
  write_some();
  const char* chosen = ::getenv("CONCLAVE_PYTHON");
  const std::string python = chosen == nullptr ? "python3" : chosen;
  const std::string command =
      python + " " + CONCLAVE_SOURCE_DIR + "/tests/trainer/read_events.py " + folder_ + " 2>/dev/null";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  std::array<char, 4096> buffer;
  for (size_t got; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) output.append(buffer.data(), got);
  const int status = ::pclose(pipe);
  if (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127) {
    GTEST_SKIP() << "no TensorBoard in " << python << " (CONCLAVE_PYTHON names another): " << output;
  }
  ASSERT_EQ(status, 0) << output;
  const auto has = [&](const std::string& line) {
    return ("\n" + output).find("\n" + line + "\n") != std::string::npos;
  };
  EXPECT_TRUE(has("scalars|lm loss|10|12.5")) << output;
  EXPECT_TRUE(has("scalars|lm loss|20|22.5")) << output;
  EXPECT_TRUE(has("scalars|lm loss vs samples|160|22.5")) << output;
  EXPECT_TRUE(has("scalars|load_balancing_loss|20|1.25")) << output;
  EXPECT_TRUE(has("scalars|grad-norm|10|0.5")) << output;
  EXPECT_TRUE(has("scalars|learning-rate|10|9.999999747378752e-05")) << output;  // 1e-4 as f32
  EXPECT_TRUE(has("scalars|iteration-time|10|0.25")) << output;
  EXPECT_TRUE(has("scalars|lm loss validation|20|2.0")) << output;
  EXPECT_TRUE(has("scalars|lm loss validation ppl|20|7.389056205749512")) << output;
  EXPECT_TRUE(has("histograms|experts/tokens_layer_3|20|-0.5|0.5|5.0")) << output;
  EXPECT_TRUE(has("histograms|experts/tokens_layer_3|20|0.5|1.5|0.0")) << output;
  EXPECT_TRUE(has("histograms|experts/tokens_layer_3|20|1.5|2.5|7.0")) << output;
}

}  // namespace
}  // namespace conclave

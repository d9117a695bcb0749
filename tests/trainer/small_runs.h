// The program as a user runs it, on a model that takes a moment.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/file.h"

namespace conclave {

inline const char* kSmallModel =
    " --num-layers 2 --hidden-size 32 --num-attention-heads 2 --seq-length 32 --ffn-hidden-size 64 "
    "--moe-ffn-hidden-size 32 --num-experts 4 --moe-aux-loss-coeff 0.01 --swiglu --disable-bias-linear "
    "--normalization RMSNorm --position-embedding-type rope --attention-dropout 0.1 --hidden-dropout 0.1 "
    "--micro-batch-size 2 --global-batch-size 4 --log-interval 1 --eval-iters 0 --progress off";
inline const char* kMockData = " --mock-data --vocab-size 64";

/// The program that was built with these tests.
std::string program_path();
/// Ranks of it that something befalls (ranks/job_ranks.cpp).
std::string job_ranks_path();

class SmallRuns : public ::testing::Test {
 protected:
  void SetUp() override {
    const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = (std::filesystem::temp_directory_path() /
             ("conclave_" + std::string(test->name()) + "_" + std::to_string(::getpid())))
                .string();
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  /// Exit code of a shell's command; what it printed is in output_.
  int shell(const std::string& command) {
    const std::string log = root_ + "/log";
    const int status = std::system(("( " + command + " ) > " + log + " 2>&1").c_str());
    output_ = read_file(log);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static std::string conclave(const std::string& words) { return "OMP_NUM_THREADS=1 " + program_path() + " " + words; }
  std::string train_command(const std::string& more) const {
    return conclave(std::string("train") + kSmallModel + " --data-cache-path " + root_ + "/cache " + more);
  }
  /// Exit code of `conclave train SMALL MORE` on made-up data.
  int train(const std::string& more) { return shell(train_command(std::string(kMockData) + " " + more)); }
  /// Byte tokens of `line`, repeated `count` times as paragraphs, as data() with text() beside it.
  void prepare_text(const std::string& line, int count) {
    std::string content;
    for (int i = 0; i < count; ++i) content += line + "\n\n";
    write_file_atomically(text(), content);
    ASSERT_EQ(shell(conclave("preprocess --input " + text() +
                             " --tokenizer-type ByteTokenizer --append-eod "
                             "--output-prefix " +
                             root_ + "/data")),
              0)
        << output_;
  }
  std::string text() const { return root_ + "/text.txt"; }
  std::string data() const { return root_ + "/data_text_document"; }
  /// Options to train on it.
  std::string on_text() const { return " --tokenizer-type ByteTokenizer --split 100,0,0 --data-path " + data(); }
  bool printed(const std::string& text) const { return output_.find(text) != std::string::npos; }

  std::string root_;
  std::string output_;
};

}  // namespace conclave

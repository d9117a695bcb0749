#include "cli/cli.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "cli/command.h"

namespace conclave {
namespace {

struct Outcome {
  int code;
  std::string out, err;
};

Outcome call(std::vector<std::string> words) {
  words.insert(words.begin(), "conclave");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = run_command_line(static_cast<int>(argv.size()), argv.data());
  return {code, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

TEST(CommandLineTest, HelpAndVersionAreNoErrors) {
  for (const char* word : {"--help", "-h", "help"}) {
    const Outcome outcome = call({word});
    EXPECT_EQ(outcome.code, 0);
    for (const Command& command : commands())
      EXPECT_NE(outcome.out.find(command.name), std::string::npos) << command.name;
    EXPECT_EQ(outcome.err, "");
  }
  EXPECT_EQ(call({"--version"}).out.substr(0, 9), "conclave ");
  EXPECT_EQ(call({}).code, 2);
}

TEST(CommandLineTest, EveryCommandExplainsItselfOrIsRefusedByName) {
  for (const Command& command : commands()) {
    const Outcome outcome = call({command.name, "--help"});
    if (command.run != nullptr) {
      EXPECT_EQ(outcome.code, 0) << command.name;
      EXPECT_NE(outcome.out.find(command.help), std::string::npos) << command.name;
    } else {
      EXPECT_EQ(outcome.code, 2) << command.name;
      EXPECT_NE(outcome.err.find(std::string("'") + command.name + "' is not available yet"), std::string::npos)
          << outcome.err;
    }
  }
}

TEST(CommandLineTest, TheNamesOfTheDesignAreThereOnce) {
  std::multiset<std::string> names;
  for (const Command& command : commands()) names.insert(command.name);
  for (const char* name : {"train", "preprocess", "generate", "eval", "convert", "upcycle", "verify-layout", "parity",
                           "plan", "inspect", "bench", "launch", "golden"})
    EXPECT_EQ(names.count(name), 1u) << name;
}

TEST(CommandLineTest, AnUnknownCommandIsAnErrorOfUseWithTheNearest) {
  const Outcome outcome = call({"goldn"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("unknown command 'goldn'; nearest: golden"), std::string::npos) << outcome.err;
}

TEST(CommandLineTest, GoldenChecksItsWords) {
  EXPECT_EQ(call({"golden", "a", "b"}).code, 2);
  EXPECT_EQ(call({"golden", "--no-such"}).code, 2);
  const Outcome outcome = call({"golden", "/no/such/directory"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("is no directory"), std::string::npos);
}

}  // namespace
}  // namespace conclave

// The newcomer's door: ./run and the small tools beside it.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace {

namespace fs = std::filesystem;
const std::string kRoot = CONCLAVE_SOURCE_DIR;

struct Outcome {
  int code = -1;
  std::string text;  // both streams
};

Outcome shell(const std::string& command) {
  Outcome outcome;
  FILE* pipe = popen(("(" + command + ") 2>&1 </dev/null").c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> buffer{};
  while (const size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) outcome.text.append(buffer.data(), got);
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

class Door : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("conclave_door_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(Door, HelpNamesEveryWordAndAnUnknownOneIsAnError) {
  const Outcome help = shell(kRoot + "/run help");
  EXPECT_EQ(help.code, 0);
  for (const char* word : {"demo", "test", "build", "conclave", "conclave-cuda", "golden", "doctor", "help"}) {
    EXPECT_NE(help.text.find(std::string("./run ") + word), std::string::npos) << word;
  }
  const Outcome wrong = shell(kRoot + "/run nonsense");
  EXPECT_EQ(wrong.code, 1);
  EXPECT_NE(wrong.text.find("unknown command 'nonsense'"), std::string::npos);
  EXPECT_EQ(shell(kRoot + "/run build nonsense").code, 1);
}

TEST_F(Door, TheProgramKeepsDirectoryAndExitCode) {
  if (!fs::exists(kRoot + "/build/cpu/conclave")) GTEST_SKIP() << "the cpu preset is not built";
  const std::string here = "cd " + folder_.string() + " && ";
  EXPECT_EQ(shell(here + kRoot + "/run conclave --version").code, 0);
  EXPECT_EQ(shell(here + kRoot + "/run conclave no-such-command").code, 2);
  // Relative to where the caller stands.
  fs::create_directories(folder_ / "cases/router");
  const Outcome golden = shell(here + kRoot + "/run conclave golden cases");
  EXPECT_NE(golden.text.find("router: 0 passed, 0 failed, 0 not built"), std::string::npos) << golden.text;
  EXPECT_EQ(shell(here + kRoot + "/run conclave golden nowhere").code, 1);
}

TEST_F(Door, TheListOfPackagesIsWellFormed) {
  std::ifstream list(kRoot + "/tools/apt-packages.txt");
  const std::regex row("([a-z0-9][a-z0-9+.-]+)( +@(fuzz|demo|optional))? +# .+");
  std::set<std::string> names;
  for (std::string line; std::getline(list, line);) {
    if (line.starts_with("#")) continue;
    std::smatch match;
    ASSERT_TRUE(std::regex_match(line, match, row)) << line;
    EXPECT_TRUE(names.insert(match[1]).second) << line;
  }
  EXPECT_TRUE(names.contains("g++"));
  EXPECT_TRUE(names.contains("libdnnl-dev"));
}

TEST_F(Door, APictureOfARun) {
  std::ofstream(folder_ / "metrics.jsonl")
      << "{\"kind\":\"run\",\"schema\":1}\n"
      << "{\"kind\":\"train\",\"iteration\":10,\"lm_loss\":4.5}\n{\"kind\":\"train\",\"iteration\":20,\"lm_loss\":2.5}"
         "\n"
      << "{\"kind\":\"eval\",\"iteration\":20,\"split\":\"valid\",\"lm_loss\":2.6}\n"
      << "{\"kind\":\"experts\",\"iteration\":20,\"layer\":1,\"tokens\":[30,10,40,20]}\n";
  const Outcome drawn =
      shell(kRoot + "/tools/plot-run.sh " + folder_.string() + " " + (folder_ / "run.svg").string() + " 2.0 bar");
  ASSERT_EQ(drawn.code, 0) << drawn.text;
  std::ostringstream svg;
  svg << std::ifstream(folder_ / "run.svg").rdbuf();
  for (const char* part : {"<svg", "polyline", "<circle", "bar 2.000", "layer 1", "40.0%", "</svg>"}) {
    EXPECT_NE(svg.str().find(part), std::string::npos) << part;
  }
  std::ofstream(folder_ / "metrics.jsonl") << "{\"kind\":\"run\",\"schema\":1}\n";
  EXPECT_NE(shell(kRoot + "/tools/plot-run.sh " + folder_.string() + " /dev/null").code, 0)
      << "nothing to draw is an error";
}

}  // namespace

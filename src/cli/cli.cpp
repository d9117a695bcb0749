#include "cli/cli.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <new>

#include "base/error.h"
#include "base/exit_code.h"
#include "base/text.h"
#include "cli/command.h"
#include "comm/failure.h"
#include "comm/launcher.h"

namespace conclave {
namespace {

constexpr const char* kVersion = "0.1.0";

int code(ExitCode exit) { return static_cast<int>(exit); }

void print_help() {
  fmt::print("Conclave trains Mixture-of-Experts language models.\n\n");
  for (const CommandEntry& command : commands()) {
    fmt::print("  conclave {:14} {}{}\n", command.name, command.help,
               command.run == nullptr ? " (not available yet)" : "");
  }
  fmt::print(
      "\nconclave COMMAND --help says more about one; conclave --version.\n"
      "The first time: ./run demo, then README.md and docs/running.md.\n");
}

const CommandEntry& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const CommandEntry& command : commands()) {
    if (name == command.name) return command;
    names.push_back(command.name);
  }
  const std::vector<std::string> near = nearest_names(name, names);
  throw UsageError(fmt::format("[cli] unknown command '{}'; {}; conclave --help lists all", name,
                               near.empty() ? "none is like it" : "nearest: " + join(near, ", ")));
}

bool asks_for_help(const Words& words) {
  const auto end = std::find(words.begin(), words.end(), "--");
  return std::any_of(words.begin(), end, [](const std::string& word) { return word == "--help" || word == "-h"; });
}

int dispatch(const std::vector<std::string>& words) {
  if (words.empty()) {
    print_help();
    return code(ExitCode::kUsage);
  }
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    print_help();
    return code(ExitCode::kDone);
  }
  if (words[0] == "--version") {
    fmt::print("conclave {}\n", kVersion);
    return code(ExitCode::kDone);
  }
  const CommandEntry& command = find_command(words[0]);
  const Words rest(words.begin() + 1, words.end());
  if (command.run == nullptr) {
    throw UsageError(fmt::format("[cli] the command '{}' is not available yet", command.name));
  }
  if (asks_for_help(rest)) {
    fmt::print("{}", help_text(command));
    return code(ExitCode::kDone);
  }
  return command.run(rest);
}

// What could not be written (a full disk, a closed pipe) must not look like success.
int flushed(int exit_code) {
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (written || exit_code != 0) return exit_code;
  fmt::print(stderr, "conclave: standard output could not be written\n");
  return code(ExitCode::kFailed);
}

int report(const std::exception& error, ExitCode exit) {
  std::fflush(stdout);
  // A launched rank that fails before it has joined its job says itself which one it is.
  const std::optional<int64_t> rank = is_launched() ? launched_rank() : std::nullopt;
  fmt::print(stderr, "conclave: {}\n", rank ? with_rank(*rank, error.what()) : error.what());
  return code(exit);
}

}  // namespace

int run_command_line(int argc, char** argv) {
  try {
    return flushed(dispatch({argv + std::min(argc, 1), argv + argc}));
  } catch (const ExitRequest& e) {
    return report(e, e.code());
  } catch (const UsageError& e) {
    return report(e, ExitCode::kUsage);
  } catch (const std::bad_alloc&) {
    return report(UserError("out of memory; make the job smaller, or give it a larger machine"), ExitCode::kFailed);
  } catch (const std::exception& e) {
    return report(e, ExitCode::kFailed);
  }
}

}  // namespace conclave

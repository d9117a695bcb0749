// One rank of a job that a test starts under a launcher: comm_ranks cases [checked] [cuda] | fail NAME
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "comm/collective_cases.h"
#include "comm/failing_ranks.h"
#include "comm/launcher.h"

namespace {

using namespace conclave;

int run_cases(const std::vector<std::string>& words) {
  const auto has = [&](const char* word) { return std::find(words.begin(), words.end(), word) != words.end(); };
  const bool checked = has("checked");
  if (has("cuda")) cases::case_device() = "cuda";
  run_in_world({.check_collectives = checked, .timeout_seconds = 60}, [](World& world) {
    for (const cases::CollectiveCase& one : cases::collective_cases()) {
      world.all().barrier(one.name.c_str());
      one.run(world);
    }
    fmt::print("rank {} of {} by {}, {} a machine: {} cases\n", world.rank(), world.size(), world.transport(),
               world.ranks_per_machine(), cases::collective_cases().size());
  });
  return 0;
}

int fail(const std::string& name) {
  for (const cases::FailingJob& job : cases::failing_jobs()) {
    if (job.name == name) run_in_world(job.settings, job.run);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty()) return 2;
  if (words[0] == "cases") return run_cases(words);
  return words[0] == "fail" && words.size() > 1 ? fail(words[1]) : 2;
}

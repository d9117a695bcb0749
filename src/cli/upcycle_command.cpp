#include <fmt/core.h>

#include "base/error.h"
#include "cli/command.h"
#include "trainer/upcycling.h"

namespace conclave {

int upcycle_command(const Words& words) {
  const UpcyclingReport report = upcycle_model(parse_command_line(Command::kUpcycle, words));
  fmt::print("{:.3f} billion parameters ({:.3f} active) in '{}'\n", report.billions, report.active_billions,
             report.directory);
  if (!report.plan.exact) fmt::print("not the same function as before: {}\n", report.plan.note);
  if (report.difference)
    fmt::print("largest difference of logits from the dense model's: {:.3g} (largest logit {:.3g})\n",
               *report.difference, *report.largest);
  fmt::print("continue it with: conclave train --load {} --use-checkpoint-args ...\n",
             report.directory.substr(0, report.directory.rfind('/')));
  return 0;
}

}  // namespace conclave

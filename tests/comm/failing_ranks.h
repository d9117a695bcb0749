// Jobs that go wrong in a known way, for threads and for processes.
#pragma once

#include <string>
#include <vector>

#include "comm/world.h"

namespace conclave::cases {

struct FailingJob {
  std::string name;
  void (*run)(World& world);       ///< of three ranks; rank 1 is at fault
  std::vector<std::string> cause;  ///< words of the cause that is reported
  CommSettings settings = {.check_collectives = true, .timeout_seconds = 60};
  int exit_code = 1;
  bool needs_process = false;  ///< ends its process, so it is not for threads
};
const std::vector<FailingJob>& failing_jobs();

}  // namespace conclave::cases

#include "comm/launcher.h"

#include <cstdlib>

namespace conclave {

bool is_launched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

void run_in_world(const CommSettings& settings, const std::function<void(World&)>& work) {
  if (is_launched()) {
    run_launched_rank(settings, work);
    return;
  }
  const auto world = make_self_world();
  work(*world);
}

}  // namespace conclave

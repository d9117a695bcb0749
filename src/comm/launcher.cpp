#include "comm/launcher.h"

#include <cstdlib>

#include "base/text.h"

namespace conclave {

bool is_launched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

std::optional<int64_t> launched_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    if (const char* text = std::getenv(name)) return parse_int(text);
  }
  return std::nullopt;
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

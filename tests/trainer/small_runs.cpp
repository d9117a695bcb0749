#include "trainer/small_runs.h"

namespace conclave {

std::string program_path() { return CONCLAVE_BINARY; }

}  // namespace conclave

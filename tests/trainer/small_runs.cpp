#include "trainer/small_runs.h"

namespace conclave {

std::string program_path() { return CONCLAVE_BINARY; }
std::string job_ranks_path() { return CONCLAVE_JOB_RANKS; }

}  // namespace conclave

#include "base/error.h"
#include "comm/launcher.h"

namespace conclave {

bool mpi_is_built_in() { return false; }

void run_launched_rank(const CommSettings&, const std::function<void(World&)>&) {
  throw_user(
      "[comm/mpi] a launcher started this process as one rank of several, but the program was built without MPI; "
      "install "
      "libopenmpi-dev and build again, or use --ranks-as-threads in one process");
}

}  // namespace conclave

// Whether a launcher (mpirun, srun) started this process as one rank of several.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "comm/world.h"

namespace conclave {

/// From the environment alone: mpirun of Open MPI or MPICH, or srun with PMIx or PMI. MPI is never initialised without.
bool is_launched();
/// From the same environment; nothing if it does not say.
std::optional<int64_t> launched_rank();

bool mpi_is_built_in();

/// This process's rank of a launched job; the body is in mpi/ (or no_mpi/, which throws). Once per process.
void run_launched_rank(const CommSettings& settings, const std::function<void(World&)>& work);

}  // namespace conclave

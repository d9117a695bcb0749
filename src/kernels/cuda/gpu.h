// What is asked of the GPU once.
#pragma once

namespace conclave::kernels::cuda {

/// Of the current GPU; asked once per process.
int multiprocessors();
/// 90 for Hopper.
int compute_capability();

}  // namespace conclave::kernels::cuda

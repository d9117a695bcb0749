// Errors of the CUDA runtime as exceptions that name the call.
#pragma once

#include <cuda_runtime_api.h>

namespace conclave {

/// Throws Error: "[device/cuda] cudaMemcpyAsync(...): an illegal memory access was encountered
/// (cudaErrorIllegalAddress)".
[[noreturn]] void throw_cuda_error(cudaError_t error, const char* call);

inline void check_cuda(cudaError_t error, const char* call) {
  if (error != cudaSuccess) [[unlikely]]
    throw_cuda_error(error, call);
}

/// Checks what a CUDA runtime call returns.
#define CONCLAVE_CUDA(call) ::conclave::check_cuda((call), #call)

}  // namespace conclave

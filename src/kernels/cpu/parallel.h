// A parallel region whose exceptions reach the caller.
#pragma once

#include <omp.h>

#include <exception>

namespace conclave::kernels::cpu {

/// body(thread) once on each of `threads` threads; the first exception is thrown again when all have ended.
template <typename Body>
void on_threads(int threads, Body body) {
  std::exception_ptr failure;
#pragma omp parallel num_threads(threads)
  {
    try {
      body(omp_get_thread_num());
    } catch (...) {
#pragma omp critical(conclave_on_threads)
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace conclave::kernels::cpu

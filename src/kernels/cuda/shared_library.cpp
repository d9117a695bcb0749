#include "kernels/cuda/shared_library.h"

#include <dlfcn.h>

#include <string>

#include "base/error.h"

namespace conclave::kernels::cuda {

void* open_library(const char* name) {
  if (void* const found = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return found;
  return dlopen((std::string(CONCLAVE_CUDA_LIBRARY_FOLDER "/") + name).c_str(), RTLD_NOW | RTLD_LOCAL);
}

void* need_library(const char* name) {
  void* const found = open_library(name);
  CONCLAVE_USER_CHECK(found != nullptr,
                      "[kernels/cuda] {} is neither on the loader's paths nor in {}; install it (CUDA toolkit 13, "
                      "cuDNN 9) or name its folder in LD_LIBRARY_PATH",
                      name, CONCLAVE_CUDA_LIBRARY_FOLDER);
  return found;
}

void* library_function(void* library, const char* name) {
  void* const found = dlsym(library, name);
  CONCLAVE_CHECK(found != nullptr, "[kernels/cuda] a library without {}", name);
  return found;
}

}  // namespace conclave::kernels::cuda

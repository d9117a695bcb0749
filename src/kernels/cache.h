// Writing new keys or values into a cache.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// cache [B,g,capacity,D], positions [position, position + S) = x [B,g,S,D]; one dtype of 2 or 4 bytes.
struct AppendToCacheArgs {
  Tensor x, cache;
  int64_t position = 0;
};
void append_to_cache(const Stream& stream, const AppendToCacheArgs& args);
Cost append_to_cache_cost(const AppendToCacheArgs& args);

}  // namespace conclave::kernels

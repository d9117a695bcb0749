#include "kernels/cache.h"

#include <cstring>

namespace conclave::kernels::cpu {

void append_to_cache(const Stream&, const AppendToCacheArgs& args) {
  const int64_t groups = args.x.size(0) * args.x.size(1);
  const int64_t row = args.x.size(3) * dtype_size(args.x.dtype());
  const int64_t piece = args.x.size(2) * row;
  if (piece == 0) return;
  for (int64_t g = 0; g < groups; ++g) {
    std::memcpy(args.cache.raw() + (g * args.cache.size(2) + args.position) * row, args.x.raw() + g * piece,
                static_cast<size_t>(piece));
  }
}

}  // namespace conclave::kernels::cpu

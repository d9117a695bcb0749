#include "kernels/cache.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(append_to_cache, AppendToCacheArgs)

Cost append_to_cache_cost(const AppendToCacheArgs& args) { return {0, 2.0 * static_cast<double>(args.x.bytes())}; }

void append_to_cache(const Stream& stream, const AppendToCacheArgs& args) {
  const Shape& cache = args.cache.shape();
  CONCLAVE_CHECK(args.x.rank() == 4 && cache.rank() == 4,
                 "[kernels/append_to_cache] needs [B,g,S,D] tensors; got {} and {}", describe(args.x),
                 describe(args.cache));
  check_tensor("append_to_cache", "x", args.x, {cache[0], cache[1], args.x.size(2), cache[3]}, args.cache.dtype());
  CONCLAVE_CHECK(args.position >= 0 && args.position + args.x.size(2) <= cache[2],
                 "[kernels/append_to_cache] positions {} to {} of a cache of {}", args.position,
                 args.position + args.x.size(2), cache[2]);
  CONCLAVE_KERNEL_DISPATCH(append_to_cache, stream, args);
}

}  // namespace conclave::kernels

#include "kernels/cache.h"

#include "kernels/cuda/launch.h"

namespace conclave::kernels::cuda {

void append_to_cache(const Stream& stream, const AppendToCacheArgs& args) {
  const auto element = static_cast<size_t>(dtype_size(args.x.dtype()));
  const Shape& cache = args.cache.shape();
  const size_t row = static_cast<size_t>(cache[3]) * element;
  const size_t width = static_cast<size_t>(args.x.size(2)) * row;
  const auto heads = static_cast<size_t>(cache[0] * cache[1]);
  if (width == 0 || heads == 0) return;
  CONCLAVE_CUDA(cudaMemcpy2DAsync(args.cache.raw() + static_cast<size_t>(args.position) * row,
                                  static_cast<size_t>(cache[2]) * row, args.x.raw(), width, width, heads,
                                  cudaMemcpyDeviceToDevice, cuda_stream(stream)));
}

}  // namespace conclave::kernels::cuda

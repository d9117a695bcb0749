#include "kernels/cuda/values.cuh"
#include "kernels/rope_backend.h"

namespace conclave::kernels::cuda {
namespace {

struct Rotation {
  const int32_t* positions;
  const float* frequencies;
  int64_t heads, length, size, pairs;
  float scale;
  bool inverse;
};

// A block per (sequence, position): its angles are made once and serve all heads. Threads x go over V neighbouring
// pairs each, threads y over heads.
template <typename T, bool interleaved, int V>
__global__ void rope_kernel(T* x, Rotation r) {
  const int64_t b = blockIdx.x / r.length, s = blockIdx.x % r.length;
  const auto position = static_cast<float>(r.positions[blockIdx.x]);
  for (int64_t first = int64_t{threadIdx.x} * V; first < r.pairs; first += int64_t{blockDim.x} * V) {
    float cosine[V], sine[V];
    for (int j = 0; j < V; ++j) {
      sincosf(__fmul_rn(position, r.frequencies[first + j]), &sine[j], &cosine[j]);
      cosine[j] *= r.scale;
      sine[j] *= r.inverse ? -r.scale : r.scale;
    }
    for (int64_t h = threadIdx.y; h < r.heads; h += blockDim.y) {
      T* head = x + ((b * r.heads + h) * r.length + s) * r.size;
      if constexpr (interleaved && V == 1) {
        // Pairs may begin anywhere.
        T* pair = head + 2 * first;
        const float one = wide(pair[0]), two = wide(pair[1]);
        pair[0] = narrow<T>(one * cosine[0] - two * sine[0]);
        pair[1] = narrow<T>(two * cosine[0] + one * sine[0]);
      } else if constexpr (interleaved) {
        auto pairs = load<2 * V>(head + 2 * first);
        for (int j = 0; j < V; ++j) {
          const float one = wide(pairs.at[2 * j]), two = wide(pairs.at[2 * j + 1]);
          pairs.at[2 * j] = narrow<T>(one * cosine[j] - two * sine[j]);
          pairs.at[2 * j + 1] = narrow<T>(two * cosine[j] + one * sine[j]);
        }
        store(head + 2 * first, pairs);
      } else {
        auto low = load<V>(head + first), high = load<V>(head + r.pairs + first);
        for (int j = 0; j < V; ++j) {
          const float one = wide(low.at[j]), two = wide(high.at[j]);
          low.at[j] = narrow<T>(one * cosine[j] - two * sine[j]);
          high.at[j] = narrow<T>(two * cosine[j] + one * sine[j]);
        }
        store(head + first, low);
        store(head + r.pairs + first, high);
      }
    }
  }
}

template <typename T, bool interleaved, int V>
void rotate(const Stream& stream, const RopeArgs& args, const Rotation& rotation) {
  const int64_t tokens = args.x.size(0) * args.x.size(2), across = ceil_div(rotation.pairs, V);
  unsigned x = 1;
  while (x < 128 && x < across) x *= 2;
  unsigned y = 1;
  while (x * y < 256 && y < rotation.heads) y *= 2;
  rope_kernel<T, interleaved, V>
      <<<static_cast<unsigned>(tokens), dim3(x, y), 0, cuda_stream(stream)>>>(pointer<T>(args.x), rotation);
  check_launch("rope");
}

template <typename T, bool interleaved>
void rotate_all(const Stream& stream, const RopeArgs& args, const Rotation& rotation) {
  // Each access is V elements (2V where pairs are neighbours): 16 bytes.
  constexpr int V = interleaved ? kWide<T> / 2 : kWide<T>;
  rotation.pairs % V == 0 && rotation.size % kWide<T> == 0 && aligned(16, args.x)
      ? rotate<T, interleaved, V>(stream, args, rotation)
      : rotate<T, interleaved, 1>(stream, args, rotation);
}

}  // namespace

void rope(const Stream& stream, const RopeArgs& args) {
  if (args.x.element_count() == 0 || args.frequencies.size(0) == 0) return;
  const Rotation rotation{pointer<const int32_t>(args.positions),
                          pointer<const float>(args.frequencies),
                          args.x.size(1),
                          args.x.size(2),
                          args.x.size(3),
                          args.frequencies.size(0),
                          args.scale,
                          args.inverse};
  with_float(args.x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    args.interleaved ? rotate_all<T, true>(stream, args, rotation) : rotate_all<T, false>(stream, args, rotation);
  });
}

}  // namespace conclave::kernels::cuda

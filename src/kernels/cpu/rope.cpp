#include <algorithm>

#include "kernels/cpu/vector_math.h"
#include "kernels/rope_backend.h"

namespace conclave::kernels::cpu {
namespace {

// Elements of one table; positions of a block share it over all heads.
constexpr int64_t kTable = 2048;
static_assert(kTable >= kRopeMostPairs);

struct Tables {
  alignas(64) float cosine[kTable];
  alignas(64) float sine[kTable];
};

void fill_tables(Tables& tables, const int32_t* positions, int64_t rows, const RopeArgs& args) {
  const int64_t pairs = args.frequencies.size(0);
  const float* frequencies = args.frequencies.data<float>();
  const float sine_scale = args.inverse ? -args.scale : args.scale;
  for (int64_t s = 0; s < rows; ++s) {
    const float position = static_cast<float>(positions[s]);
    for_each_vector(pairs, [&](int64_t i, int64_t n) CONCLAVE_INLINE_LAMBDA {
      const SineCosine turn = sine_cosine(position * load_some(frequencies + i, n));
      store_some(tables.cosine + s * pairs + i, turn.cosine * args.scale, n);
      store_some(tables.sine + s * pairs + i, turn.sine * sine_scale, n);
    });
  }
}

template <typename T>
void rotate_halves(T* x, const float* cosine, const float* sine, int64_t pairs) {
  for_each_vector(pairs, [&](int64_t i, int64_t n) CONCLAVE_INLINE_LAMBDA {
    const VecF first = load_some(x + i, n), second = load_some(x + pairs + i, n);
    const VecF c = load_some(cosine + i, n), s = load_some(sine + i, n);
    store_some(x + i, first * c - second * s, n);
    store_some(x + pairs + i, second * c + first * s, n);
  });
}

float element(float value) { return value; }
float element(BF16 value) { return to_float(value); }
void put(float& target, float value) { target = value; }
void put(BF16& target, float value) { target = to_bf16(value); }

template <typename T>
void rotate_neighbours(T* x, const float* cosine, const float* sine, int64_t pairs) {
  int64_t i = 0;
  for (; i + kLanes <= pairs; i += kLanes) {
    const VecF low = load(x + 2 * i), high = load(x + 2 * i + kLanes);
    const VecF first = __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const VecF second = __builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    const VecF c = load(cosine + i), s = load(sine + i);
    const VecF a = first * c - second * s, b = second * c + first * s;
    store(x + 2 * i, __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
    store(x + 2 * i + kLanes,
          __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
  }
  for (; i < pairs; ++i) {
    const float first = element(x[2 * i]), second = element(x[2 * i + 1]);
    put(x[2 * i], first * cosine[i] - second * sine[i]);
    put(x[2 * i + 1], second * cosine[i] + first * sine[i]);
  }
}

template <typename T>
void rotate_all(const RopeArgs& args) {
  const int64_t batch = args.x.size(0), heads = args.x.size(1), length = args.x.size(2), size = args.x.size(3);
  const int64_t pairs = args.frequencies.size(0);
  if (pairs == 0) return;
  const int64_t block = std::min<int64_t>(32, kTable / pairs), blocks = ceil_div(length, block);
  T* x = args.x.data<T>();
  const int32_t* positions = args.positions.data<int32_t>();
#pragma omp parallel for collapse(2) schedule(static) if (args.x.element_count() >= (1 << 14))
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t k = 0; k < blocks; ++k) {
      Tables tables;
      const int64_t begin = k * block, rows = std::min(block, length - begin);
      fill_tables(tables, positions + b * length + begin, rows, args);
      for (int64_t h = 0; h < heads; ++h) {
        T* head = x + ((b * heads + h) * length + begin) * size;
        for (int64_t s = 0; s < rows; ++s) {
          const float* cosine = tables.cosine + s * pairs;
          const float* sine = tables.sine + s * pairs;
          args.interleaved ? rotate_neighbours(head + s * size, cosine, sine, pairs)
                           : rotate_halves(head + s * size, cosine, sine, pairs);
        }
      }
    }
  }
}

}  // namespace

void rope(const Stream&, const RopeArgs& args) {
  args.x.dtype() == DType::kF32 ? rotate_all<float>(args) : rotate_all<BF16>(args);
}

}  // namespace conclave::kernels::cpu

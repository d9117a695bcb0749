#include "kernels/cpu/vector_random.h"
#include "kernels/dropout_backend.h"

namespace conclave::kernels::cpu {
namespace {

// Random bits are made for this many elements at a time.
constexpr int64_t kRun = 512;

template <typename T>
void add_row(const T* x, const T* residual, T* out, int64_t width) {
  for_each_vector(width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
    VecF value = load_some(x + j, n);
    if (residual != nullptr) value += load_some(residual + j, n);
    store_some(out + j, value, n);
  });
}

// What keeps elements of one sequence: element i of the run keeps if bits[i] >= threshold.
struct Keep {
  const uint32_t* bits;
  uint32_t threshold;
  float scale;
};

template <typename T>
void drop_run(const T* x, const T* residual, T* out, int64_t count, const Keep& keep) {
  for_each_vector(count, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
    VecU bits;
    std::memcpy(&bits, keep.bits + j, sizeof bits);
    VecF value = bits >= keep.threshold ? load_some(x + j, n) * keep.scale : VecF{};
    if (residual != nullptr) value += load_some(residual + j, n);
    store_some(out + j, value, n);
  });
}

template <typename T>
void dropout_add_rows(const DropoutAddArgs& args) {
  const int64_t batch = args.x.size(1), width = args.x.size(2), rows = args.x.size(0) * batch;
  const T* x = args.x.data<T>();
  const T* residual = args.residual ? args.residual.data<T>() : nullptr;
  T* out = args.out.data<T>();
  const uint32_t threshold = keep_threshold(args.rate);
  const float scale = 1.0f / (1.0f - args.rate);
#pragma omp parallel for schedule(static) if (rows * width >= (1 << 14))
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * width;
    const T* skip = residual != nullptr ? residual + at : nullptr;
    if (args.rate == 0) {
      add_row(x + at, skip, out + at, width);
      continue;
    }
    const RandomStream& stream = args.streams[static_cast<size_t>(r % batch)];
    const uint64_t element = static_cast<uint64_t>((r / batch + args.sequence_offset) * width);
    for (int64_t j = 0; j < width; j += kRun) {
      alignas(64) uint32_t bits[kRun];
      const int64_t count = std::min(kRun, width - j);
      random_bits(stream, element + static_cast<uint64_t>(j), count, bits);
      drop_run(x + at + j, skip != nullptr ? skip + j : nullptr, out + at + j, count, {bits, threshold, scale});
    }
  }
}

}  // namespace

void dropout_add(const Stream&, const DropoutAddArgs& args) {
  args.x.dtype() == DType::kF32 ? dropout_add_rows<float>(args) : dropout_add_rows<BF16>(args);
}

}  // namespace conclave::kernels::cpu

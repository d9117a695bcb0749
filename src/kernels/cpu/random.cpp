#include <algorithm>
#include <vector>

#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vector.h"
#include "kernels/cpu/vector_random.h"
#include "kernels/elementwise_backend.h"

namespace conclave::kernels::cpu {
namespace {

/// Elements that stand together in the shard and in the whole tensor.
struct Run {
  int64_t local = 0, global = 0, count = 0;
};

void append_runs(Run run, std::vector<Run>& out) {
  while (run.count > 0) {
    const int64_t take = std::min(run.count, kPiece);
    out.push_back({run.local, run.global, take});
    run = {run.local + take, run.global + take, run.count - take};
  }
}

/// The runs of a shard in local order, none longer than a piece.
std::vector<Run> runs_of(const ShardSpec& shard) {
  std::vector<Run> out;
  int64_t local = 0;
  for (const Box& box : shard.boxes) {
    // Trailing axes that are held whole, and the one before them, make one run.
    int64_t length = 1;
    for (size_t axis = box.size.size(); axis-- > 0;) {
      length *= box.size[axis];
      if (box.size[axis] != shard.global_shape[axis]) break;
    }
    const int64_t count = box.element_count();
    for (int64_t done = 0; done < count; done += length)
      append_runs({local + done, shard.global_index(local + done), length}, out);
    local += count;
  }
  return out;
}

void fill_run(const RandomFillArgs& args, const Run& run) {
  float* x = args.x.data<float>() + run.local;
  const auto first = static_cast<uint64_t>(run.global);
  double factor = args.b;
  if (args.kind == RandomKind::kNormal) {
    normal_run(args.source, first, run.count, x);
  } else {
    uniform_run(args.source, first, run.count, x);
    factor = args.b - args.a;
  }
#pragma omp simd
  for (int64_t i = 0; i < run.count; ++i) x[i] = static_cast<float>(args.a + factor * static_cast<double>(x[i]));
}

template <typename T>
void jitter_rows(const JitterArgs& args) {
  const int64_t batch = args.x.size(1), width = args.x.size(2), rows = args.x.size(0) * batch;
  const T* x = args.x.data<T>();
  T* y = args.y.data<T>();
  const float low = 1 - args.epsilon, span = 2 * args.epsilon;
#pragma omp parallel if (rows * width >= kPiece)
  {
    std::vector<float> uniform(static_cast<size_t>(width));
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      const auto first = static_cast<uint64_t>((row / batch + args.sequence_offset) * width);
      uniform_run(args.streams[static_cast<size_t>(row % batch)], first, width, uniform.data());
      for_each_vector(width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
        const int64_t at = row * width + j;
        store_some(y + at, load_some(x + at, n) * (low + span * load_some(uniform.data() + j, n)), n);
      });
    }
  }
}

}  // namespace

void random_fill(const Stream&, const RandomFillArgs& args) {
  const std::vector<Run> runs = runs_of(args.shard);
  const auto count = static_cast<int64_t>(runs.size());
#pragma omp parallel for schedule(dynamic, 4) if (count > 1)
  for (int64_t i = 0; i < count; ++i) fill_run(args, runs[static_cast<size_t>(i)]);
}

void jitter(const Stream&, const JitterArgs& args) {
  args.x.dtype() == DType::kBF16 ? jitter_rows<BF16>(args) : jitter_rows<float>(args);
}

}  // namespace conclave::kernels::cpu

// Checks every tiling of the grouped products against sums in double and times them: grouped_speed [CSV].
// Shapes are those of bench/peers; the dense product of 8192 cubed is the ceiling of the same run.
#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "device/cuda/cuda_check.h"
#include "gpu_timing.h"
#include "kernels/cuda/dense_product.h"
#include "kernels/cuda/grouped_hopper.h"

namespace conclave::kernels::cuda {
namespace {

struct Sample {
  int64_t row, column;  ///< of the output; weight gradient: row of expert * N + n
  int expert;
  double want;
};

/// One block per sample: the exact product in double.
__global__ void reference(GroupedProduct p, Sample* samples) {
  __shared__ double partial[128];
  Sample& sample = samples[blockIdx.x];
  const auto* left = static_cast<const __nv_bfloat16*>(p.left);
  const auto* right = static_cast<const __nv_bfloat16*>(p.right);
  const int64_t e = sample.expert, begin = p.offsets[e], end = p.offsets[e + 1];
  const int64_t terms = p.kind == GroupedKind::kForward         ? p.k
                        : p.kind == GroupedKind::kInputGradient ? p.n
                                                                : end - begin;
  double sum = 0;
  for (int64_t t = threadIdx.x; t < terms; t += 128) {
    int64_t a = 0, b = 0;
    if (p.kind == GroupedKind::kForward) {
      a = sample.row * p.k + t;
      b = (e * p.n + sample.column) * p.k + t;
    } else if (p.kind == GroupedKind::kInputGradient) {
      a = sample.row * p.n + t;
      b = (e * p.n + t) * p.k + sample.column;
    } else {
      a = (begin + t) * p.n + sample.row % p.n;
      b = (begin + t) * p.k + sample.column;
    }
    sum += static_cast<double>(__bfloat162float(left[a])) * static_cast<double>(__bfloat162float(right[b]));
  }
  partial[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  sum = 0;
  for (double one : partial) sum += one;
  if (p.bias != nullptr)
    sum += static_cast<double>(__bfloat162float(static_cast<const __nv_bfloat16*>(p.bias)[e * p.n + sample.column]));
  sample.want = sum;
}

struct Layer {
  const char* name;
  int64_t n, k;
  std::vector<int64_t> counts;  ///< rows of each expert
  int64_t spare_rows = 0;       ///< beyond the last group
};

std::vector<int64_t> uneven(int64_t experts, int64_t mean, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> share(0.5, 1.5);
  std::vector<double> shares;
  double total = 0;
  for (int64_t e = 0; e < experts; ++e) total += shares.emplace_back(share(random));
  std::vector<int64_t> counts;
  int64_t left = experts * mean;
  for (int64_t e = 0; e < experts; ++e) {
    const auto want =
        static_cast<int64_t>(shares[static_cast<size_t>(e)] / total * static_cast<double>(experts * mean));
    counts.push_back(e + 1 == experts ? left : std::min(left, want));
    left -= counts.back();
  }
  return counts;
}

/// A third of the experts empty, the others falling off by a factor: what a bad router does.
std::vector<int64_t> steep(int64_t experts, int64_t mean) {
  std::vector<int64_t> counts;
  int64_t left = experts * mean;
  for (int64_t e = 0; e < experts; ++e) {
    counts.push_back(e % 3 == 1 ? 0 : std::min(left, e + 1 == experts ? left : left / 12));
    left -= counts.back();
  }
  counts.back() += left;
  return counts;
}

/// Tensors of one layer's product.
class Problem {
 public:
  Problem(GroupedKind kind, const Layer& layer, bool with_bias)
      : layer_(layer),
        offsets_host_(offsets_of(layer)),
        rows_(offsets_host_.back() + layer.spare_rows),
        experts_(static_cast<int64_t>(layer.counts.size())),
        wide_(rows_ * layer.n),
        narrow_(rows_ * layer.k),
        stack_(kind == GroupedKind::kWeightGradient ? 0 : experts_ * layer.n * layer.k),
        sums_(kind == GroupedKind::kWeightGradient ? experts_ * layer.n * layer.k : 0),
        bias_(with_bias ? experts_ * layer.n : 0),
        offsets_(experts_ + 1) {
    CONCLAVE_CUDA(cudaMemcpy(offsets_.data(), offsets_host_.data(), offsets_host_.size() * 8, cudaMemcpyHostToDevice));
    fill(wide_, 1);
    fill(narrow_, 2);
    fill(stack_, 3);
    fill(bias_, 4);
    product_.kind = kind;
    product_.left = kind == GroupedKind::kForward ? narrow_.data() : wide_.data();
    product_.right = kind == GroupedKind::kWeightGradient ? narrow_.data() : stack_.data();
    product_.out = kind == GroupedKind::kForward         ? static_cast<void*>(wide_.data())
                   : kind == GroupedKind::kInputGradient ? static_cast<void*>(narrow_.data())
                                                         : static_cast<void*>(sums_.data());
    product_.bias = with_bias && kind == GroupedKind::kForward ? bias_.data() : nullptr;
    product_.offsets = offsets_.data();
    product_.rows = rows_;
    product_.experts = experts_;
    product_.n = layer.n;
    product_.k = layer.k;
  }

  const GroupedProduct& product() const { return product_; }
  double flops() const {
    return 2.0 * static_cast<double>(offsets_host_.back()) * static_cast<double>(layer_.n) *
           static_cast<double>(layer_.k);
  }
  bool sums_rows() const { return product_.kind == GroupedKind::kWeightGradient; }
  /// Rows that belong to nobody hold NaN, and so does what is to be written.
  void poison() const {
    if (sums_rows()) {
      sums_.fill_bytes(0);
      const int64_t used = offsets_host_.back();
      CONCLAVE_CUDA(
          cudaMemset(wide_.data() + used * layer_.n, 0xff, static_cast<size_t>((rows_ - used) * layer_.n) * 2));
      CONCLAVE_CUDA(
          cudaMemset(narrow_.data() + used * layer_.k, 0xff, static_cast<size_t>((rows_ - used) * layer_.k) * 2));
    } else {
      out().fill_bytes(0xff);
    }
  }
  const Buffer<__nv_bfloat16>& out() const { return product_.kind == GroupedKind::kForward ? wide_ : narrow_; }
  const Buffer<float>& sums() const { return sums_; }
  const std::vector<int64_t>& offsets() const { return offsets_host_; }
  int64_t out_width() const { return product_.kind == GroupedKind::kForward ? layer_.n : layer_.k; }

  /// Exact values at `count` places, the last rows of groups among them.
  std::vector<Sample> samples(int count) const {
    std::mt19937_64 random(7);
    std::vector<Sample> list;
    while (static_cast<int>(list.size()) < count) {
      Sample sample{};
      sample.expert = static_cast<int>(random() % static_cast<uint64_t>(experts_));
      const int64_t begin = offsets_host_[static_cast<size_t>(sample.expert)];
      const int64_t end = offsets_host_[static_cast<size_t>(sample.expert) + 1];
      if (begin == end) {
        if (offsets_host_.back() == 0) break;
        continue;
      }
      const int64_t rows = sums_rows() ? layer_.n : end - begin, first = sums_rows() ? sample.expert * layer_.n : begin;
      const uint64_t drawn = random();
      sample.row =
          first + (list.size() % 4 == 0 ? rows - 1 : static_cast<int64_t>(drawn % static_cast<uint64_t>(rows)));
      sample.column =
          list.size() % 5 == 0
              ? out_width() - 1
              : static_cast<int64_t>(random() % static_cast<uint64_t>(sums_rows() ? layer_.k : out_width()));
      list.push_back(sample);
    }
    if (list.empty()) return list;
    const Buffer<Sample> on_device(static_cast<int64_t>(list.size()));
    CONCLAVE_CUDA(cudaMemcpy(on_device.data(), list.data(), list.size() * sizeof(Sample), cudaMemcpyHostToDevice));
    reference<<<static_cast<unsigned>(list.size()), 128>>>(product_, on_device.data());
    CONCLAVE_CUDA(cudaGetLastError());
    return on_device.host();
  }

 private:
  static std::vector<int64_t> offsets_of(const Layer& layer) {
    std::vector<int64_t> offsets{0};
    for (const int64_t count : layer.counts) offsets.push_back(offsets.back() + count);
    return offsets;
  }
  Layer layer_;
  std::vector<int64_t> offsets_host_;
  int64_t rows_, experts_;
  Buffer<__nv_bfloat16> wide_, narrow_, stack_;
  Buffer<float> sums_;
  Buffer<__nv_bfloat16> bias_;
  Buffer<int64_t> offsets_;
  GroupedProduct product_;
};

float value_of(__nv_bfloat16 value) { return __bfloat162float(value); }

/// Largest error in units of what rounding may do; above 1 is wrong. `times`: how often it was added.
double worst_error(const Problem& problem, const std::vector<Sample>& samples, int times) {
  const GroupedProduct& p = problem.product();
  double worst = 0;
  const auto look = [&](double got, double want, double terms) {
    const double limit = problem.sums_rows() ? 2e-5 * std::sqrt(terms) + 1e-5 * std::fabs(want)
                                             : std::fabs(want) * 0x1p-8 + 2e-5 * std::sqrt(terms);
    const double error = std::fabs(got - want) / limit;
    worst = error <= worst ? worst : error;  // NaN counts
    if (std::isnan(error)) worst = INFINITY;
  };
  const auto bf16 = problem.sums_rows() ? std::vector<__nv_bfloat16>{} : problem.out().host();
  const auto f32 = problem.sums_rows() ? problem.sums().host() : std::vector<float>{};
  for (const Sample& s : samples) {
    const int64_t at = s.row * problem.out_width() + s.column;
    if (problem.sums_rows()) {
      look(f32[static_cast<size_t>(at)], s.want * times,
           static_cast<double>(problem.offsets()[s.expert + 1] - problem.offsets()[s.expert]));
    } else {
      look(value_of(bf16[static_cast<size_t>(at)]), s.want,
           static_cast<double>(p.kind == GroupedKind::kForward ? p.k : p.n));
    }
  }
  if (!problem.sums_rows()) {
    // Every element of a group is written, none beyond.
    const auto end = static_cast<size_t>(problem.offsets().back() * problem.out_width());
    for (size_t i = 0; i < bf16.size(); ++i) {
      const bool nan = std::isnan(value_of(bf16[i]));
      if (nan != (i >= end)) return INFINITY;
    }
  } else {
    for (const float one : f32)
      if (std::isnan(one)) return INFINITY;
  }
  return worst;
}

std::vector<GroupedTiling> tilings(GroupedKind kind, bool all_bands) {
  std::vector<GroupedTiling> list;
  for (const int width : {256, 192, 128})
    for (const Shared shared : {Shared::kNone, Shared::kLeft, Shared::kRight})
      for (const int band : {8, 16})
        if (band == 8 || (all_bands && width == 256)) list.push_back({width, shared, band});
  if (kind != GroupedKind::kWeightGradient) return list;
  for (size_t i = list.size(); i-- > 0;) {
    list.push_back(list[i]);
    list.back().adding = Adding::kByLoads;
  }
  return list;
}
const char* word(Shared shared) {
  return shared == Shared::kNone ? "none" : shared == Shared::kLeft ? "left" : "right";
}
const char* word(Adding adding) { return adding == Adding::kByEngine ? "engine" : "loads"; }
const char* word(GroupedKind kind) {
  return kind == GroupedKind::kForward ? "forward" : kind == GroupedKind::kInputGradient ? "dx" : "dw";
}
constexpr GroupedKind kKinds[] = {GroupedKind::kForward, GroupedKind::kInputGradient, GroupedKind::kWeightGradient};

bool check_layer(const Layer& layer) {
  bool good = true;
  for (const GroupedKind kind : kKinds) {
    const Problem problem(kind, layer, true);
    problem.poison();
    const std::vector<Sample> samples = problem.samples(600);
    for (const GroupedTiling& tiling : tilings(kind, false)) {
      problem.poison();
      grouped_hopper(problem.product(), tiling, nullptr);
      if (problem.sums_rows()) grouped_hopper(problem.product(), tiling, nullptr);
      CONCLAVE_CUDA(cudaDeviceSynchronize());
      const double error = worst_error(problem, samples, 2);
      if (!(error <= 1)) {
        std::printf("WRONG %s %s width %d shared %s adding %d: error %.3g\n", layer.name, word(kind), tiling.width,
                    word(tiling.shared), static_cast<int>(tiling.adding), error);
        good = false;
      }
    }
  }
  std::printf("%-24s %s\n", layer.name, good ? "right" : "WRONG");
  std::fflush(stdout);
  return good;
}

double dense_ceiling() {
  constexpr int64_t kSize = 8192;
  const Buffer<__nv_bfloat16> a(kSize * kSize), b(kSize * kSize), c(kSize * kSize);
  const Buffer<uint8_t> workspace(kDenseWorkspaceBytes);
  fill(a, 1);
  fill(b, 2);
  DenseProduct p;
  p.in = p.out = DType::kBF16;
  p.m = p.n = p.k = p.lda = p.ldb = p.ldc = kSize;
  p.transpose_b = true;
  p.a = a.data();
  p.b = b.data();
  p.c = c.data();
  const double seconds = rested_seconds([&] { dense_product(p, workspace.data(), nullptr); }, 15);
  return 2.0 * kSize * kSize * kSize / seconds * 1e-12;
}

/// What adding weight gradients to memory costs by itself: sums of one row each. Bytes are read and written.
void time_adding(Layer layer) {
  layer.counts.assign(layer.counts.size(), 1);
  const Problem problem(GroupedKind::kWeightGradient, layer, false);
  const double bytes = 8.0 * static_cast<double>(layer.n * layer.k) * static_cast<double>(layer.counts.size());
  std::printf("%-14s adding alone:", layer.name);
  for (const int width : {256, 192, 128}) {
    const double seconds = rested_seconds(
        [&] {
          grouped_hopper(problem.product(), {width, Shared::kNone, 8}, nullptr);
        },
        11);
    std::printf("  %.2f TB/s, %.3f ms (%d)", bytes / seconds * 1e-12, seconds * 1e3, width);
  }
  std::printf("\n");
}

void time_layer(const Layer& layer, std::FILE* csv) {
  for (const GroupedKind kind : kKinds) {
    const Problem problem(kind, layer, false);
    std::vector<GroupedTiling> list = tilings(kind, true);
    list.push_back(grouped_tiling(problem.product()));
    std::vector<std::pair<double, GroupedTiling>> results;
    for (const GroupedTiling& tiling : list) {
      const double seconds = rested_seconds([&] { grouped_hopper(problem.product(), tiling, nullptr); }, 11);
      results.emplace_back(problem.flops() / seconds * 1e-12, tiling);
      if (csv != nullptr)
        std::fprintf(csv, "%s,%s,%d,%s,%d,%s,%.1f\n", layer.name, word(kind), tiling.width, word(tiling.shared),
                     tiling.band, word(tiling.adding), results.back().first);
    }
    const double chosen = results.back().first;
    results.pop_back();
    std::sort(results.begin(), results.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::printf("%-14s %-8s chosen %.0f ", layer.name, word(kind), chosen);
    for (size_t i = 0; i < 8; ++i)
      std::printf("  %.0f (%d %s b%d%s)", results[i].first, results[i].second.width, word(results[i].second.shared),
                  results[i].second.band, results[i].second.adding == Adding::kByLoads ? " loads" : "");
    std::printf("\n");
    std::fflush(stdout);
  }
}

int run(const char* csv_path) {
  cudaDeviceProp properties;
  CONCLAVE_CUDA(cudaGetDeviceProperties(&properties, 0));
  std::printf("%s\n", properties.name);
  bool good = true;
  for (const Layer& layer : std::vector<Layer>{{"even", 256, 256, {128, 256, 64}},
                                               {"odd groups", 320, 200, {1, 0, 63, 64, 65, 0, 127, 129, 300}, 37},
                                               {"narrow", 8, 16, {5, 200, 0, 1}, 3},
                                               {"nobody", 128, 128, {0, 0, 0}, 10},
                                               {"wide", 776, 1032, {777, 0, 3, 450}, 1},
                                               {"many experts", 384, 192, uneven(96, 90, 3), 5}})
    good = check_layer(layer) && good;
  std::printf("dense 8192 cubed: %.0f TFLOP/s\n", dense_ceiling());
  std::FILE* csv = csv_path == nullptr ? nullptr : std::fopen(csv_path, "w");
  time_layer({"qwen3 fc1", 1536, 2048, uneven(128, 1024, 1)}, csv);
  time_layer({"qwen3 fc2", 2048, 768, uneven(128, 1024, 1)}, csv);
  time_layer({"mixtral fc1", 28672, 4096, uneven(8, 4096, 1)}, csv);
  time_layer({"mixtral fc2", 4096, 14336, uneven(8, 4096, 1)}, csv);
  time_adding({"qwen3 fc1", 1536, 2048, uneven(128, 1024, 1)});
  time_adding({"mixtral fc2", 4096, 14336, uneven(8, 4096, 1)});
  time_layer({"qwen3 steep", 1536, 2048, steep(128, 1024)}, csv);
  if (csv != nullptr) std::fclose(csv);
  std::printf("dense 8192 cubed: %.0f TFLOP/s\n", dense_ceiling());
  return good ? 0 : 1;
}

}  // namespace
}  // namespace conclave::kernels::cuda

int main(int argc, char** argv) {
  try {
    return conclave::kernels::cuda::run(argc > 1 ? argv[1] : nullptr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}

// rooms: kernels
// Attention, the fused output loss and dense products on the GPU at the sizes of real models; TFLOP/s, medians.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <random>
#include <vector>

#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/gemm.h"

namespace conclave::kernels {
namespace {

class Bench {
 public:
  Bench() : device_(make_device("cuda")), stream_(device_->default_stream()) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    values_.resize(size_t{1} << 20);
    for (BF16& value : values_) value = to_bf16(normal(random));
  }

  /// Random numbers, repeated: what is multiplied is not zeros.
  Tensor bf16(const Shape& shape) {
    const Tensor tensor = empty(shape, DType::kBF16);
    const Tensor flat = tensor.view({tensor.element_count()});
    const auto step = static_cast<int64_t>(values_.size());
    for (int64_t i = 0; i < flat.size(0); i += step) {
      const int64_t count = std::min(step, flat.size(0) - i);
      copy_from_host<BF16>(stream_, flat.slice(i, i + count), {values_.data(), static_cast<size_t>(count)});
    }
    return tensor;
  }
  Tensor empty(const Shape& shape, DType dtype) {
    return Tensor::empty(*device_, shape, dtype, {MemoryCategory::kActivations, "bench"});
  }
  Tensor zeros(const Shape& shape) {
    const Tensor tensor = empty(shape, DType::kF32);
    const std::vector<float> none(static_cast<size_t>(tensor.element_count()));
    copy_from_host<float>(stream_, tensor, none);
    return tensor;
  }
  const Stream& stream() const { return stream_; }

  void report(const char* name, double flops, const std::function<void()>& run) {
    run();
    run();
    device_->synchronize();
    std::vector<double> seconds;
    for (int i = 0; i < 9; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      run();
      device_->synchronize();
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    std::nth_element(seconds.begin(), seconds.begin() + 4, seconds.end());
    std::printf("%-44s %8.3f ms %7.0f TFLOP/s\n", name, seconds[4] * 1e3, flops / seconds[4] * 1e-12);
    std::fflush(stdout);
  }

 private:
  std::unique_ptr<Device> device_;
  Stream stream_;
  std::vector<BF16> values_;
};

struct Heads {
  const char* name;
  int64_t batch, heads, groups, sequence, size, value_size, window = 0;
  bool documents = false;  ///< packed: here one document, so that the work is the same
};

void attention(Bench& bench, const Heads& h) {
  const Shape rows{h.sequence, h.batch, h.heads * h.value_size};
  const Tensor q = bench.bf16({h.batch, h.heads, h.sequence, h.size});
  const Tensor k = bench.bf16({h.batch, h.groups, h.sequence, h.size});
  const Tensor v = bench.bf16({h.batch, h.groups, h.sequence, h.value_size});
  const Tensor out = bench.empty(rows, DType::kBF16), dout = bench.bf16(rows);
  const Tensor lse = bench.empty({h.batch, h.heads, h.sequence}, DType::kF32);
  const Tensor dq = bench.empty(q.shape(), DType::kBF16), dk = bench.empty(k.shape(), DType::kBF16),
               dv = bench.empty(v.shape(), DType::kBF16);
  const float scale = 1 / std::sqrt(static_cast<float>(h.size));
  AttentionMask mask{.causal = true, .window = h.window, .document_starts = {}, .place = {}};
  if (h.documents) {
    mask.document_starts = bench.empty({h.batch, h.sequence}, DType::kI32);
    copy_from_host<int32_t>(bench.stream(), mask.document_starts,
                            std::vector<int32_t>(static_cast<size_t>(h.batch * h.sequence)));
  }
  const double pairs = static_cast<double>(h.batch * h.heads * h.sequence * h.sequence) / 2;
  bench.report(fmt::format("attention {} forward", h.name).c_str(),
               2 * pairs * static_cast<double>(h.size + h.value_size), [&] {
                 attention_forward(bench.stream(), {.q = q,
                                                    .k = k,
                                                    .v = v,
                                                    .out = out,
                                                    .lse = lse,
                                                    .mask = mask,
                                                    .scale = scale,
                                                    .max_logit = {},
                                                    .sink = {}});
               });
  bench.report(fmt::format("attention {} backward", h.name).c_str(),
               2 * pairs * static_cast<double>(3 * h.size + 2 * h.value_size), [&] {
                 attention_backward(bench.stream(), {.dout = dout,
                                                     .q = q,
                                                     .k = k,
                                                     .v = v,
                                                     .out = out,
                                                     .lse = lse,
                                                     .dq = dq,
                                                     .dk = dk,
                                                     .dv = dv,
                                                     .mask = mask,
                                                     .scale = scale});
               });
}

void output_loss(Bench& bench, int64_t rows, int64_t width, int64_t vocabulary) {
  const Tensor hidden = bench.bf16({rows, width}), weight = bench.bf16({vocabulary, width});
  const Tensor loss = bench.empty({rows}, DType::kF32), dhidden = bench.empty({rows, width}, DType::kBF16);
  const Tensor dweight = bench.zeros({vocabulary, width}), row_weight = bench.empty({rows}, DType::kF32);
  const Tensor labels = bench.empty({rows}, DType::kI32);
  std::vector<int32_t> ids(static_cast<size_t>(rows));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 7919 % static_cast<size_t>(vocabulary));
  copy_from_host<int32_t>(bench.stream(), labels, ids);
  copy_from_host<float>(bench.stream(), row_weight,
                        std::vector<float>(static_cast<size_t>(rows), 1 / static_cast<float>(rows)));
  const double flops = 6.0 * static_cast<double>(rows) * static_cast<double>(width) * static_cast<double>(vocabulary);
  for (const int64_t chunk : {int64_t{0}, int64_t{1024}, int64_t{4096}})
    bench.report(fmt::format("output loss {}x{}x{} chunk {}", rows, width, vocabulary, chunk).c_str(), flops, [&] {
      linear_cross_entropy(bench.stream(), {.hidden = hidden,
                                            .weight = weight,
                                            .bias = {},
                                            .labels = labels,
                                            .loss = loss,
                                            .row_weight = row_weight,
                                            .dhidden = dhidden,
                                            .dweight = dweight,
                                            .dbias = {},
                                            .greedy_correct = {},
                                            .logit_maximum = {},
                                            .chunk_rows = chunk});
    });
}

void linear(Bench& bench, int64_t rows, int64_t in, int64_t out) {
  const Tensor x = bench.bf16({rows, in}), w = bench.bf16({out, in}), dy = bench.bf16({rows, out});
  const Tensor y = bench.empty({rows, out}, DType::kBF16), dx = bench.empty({rows, in}, DType::kBF16);
  const Tensor dw = bench.zeros({out, in});
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
  const std::string name = fmt::format("linear {}x{}x{}", rows, in, out);
  bench.report((name + " forward").c_str(), flops, [&] { linear_forward(bench.stream(), x, w, {}, y); });
  bench.report((name + " dx").c_str(), flops, [&] { linear_input_gradient(bench.stream(), dy, w, dx); });
  bench.report((name + " dw f32 added").c_str(), flops, [&] { linear_weight_gradient(bench.stream(), dy, x, dw); });
}

void run() {
  Bench bench;
  linear(bench, 8192, 8192, 8192);
  linear(bench, 16384, 4096, 6144);
  linear(bench, 16384, 2048, 5120);
  linear(bench, 16384, 2048, 128);
  attention(bench, {"mixtral 32/8 d128 s4096", 4, 32, 8, 4096, 128, 128});
  attention(bench, {"qwen3 32/4 d128 s4096", 4, 32, 4, 4096, 128, 128});
  attention(bench, {"mla 128 192/128 s4096", 1, 128, 128, 4096, 192, 128});
  attention(bench, {"window 1024 d128 s4096", 4, 32, 8, 4096, 128, 128, 1024});
  attention(bench, {"documents 32/8 d128 s4096", 4, 32, 8, 4096, 128, 128, 0, true});
  attention(bench, {"documents 32/8 d64 s4096", 4, 32, 8, 4096, 64, 64, 0, true});
  output_loss(bench, 16384, 2048, 151936);
  output_loss(bench, 16384, 4096, 32000);
}

}  // namespace
}  // namespace conclave::kernels

int main() {
  try {
    conclave::kernels::run();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}

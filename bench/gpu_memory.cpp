// rooms: kernels
// Ops that move memory, on the GPU at the sizes of real models; TB/s over the bytes that must move, medians.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <vector>

#include "kernels/activation.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/norm.h"
#include "kernels/optimizer.h"
#include "kernels/permute.h"
#include "kernels/qkv.h"
#include "kernels/rope.h"
#include "kernels/router_balance.h"
#include "kernels/router_topk.h"

namespace conclave::kernels {
namespace {

class Bench {
 public:
  Bench() : device_(make_device("cuda")), stream_(device_->default_stream()) {}

  const Stream& stream() const { return stream_; }
  Tensor empty(const Shape& shape, DType dtype) {
    return Tensor::empty(*device_, shape, dtype, {MemoryCategory::kActivations, "bench"});
  }
  Tensor random(const Shape& shape, DType dtype = DType::kBF16) {
    const Tensor values = empty(shape, DType::kF32);
    random_fill(stream_, {.x = values,
                          .shard = ShardSpec::whole(shape.to_vector()),
                          .source = RandomStream(1, std::to_string(++made_))});
    if (dtype == DType::kF32) return values;
    const Tensor out = empty(shape, dtype);
    cast(stream_, {.x = values, .y = out});
    return out;
  }
  Tensor integers(const Shape& shape, int32_t limit) {
    const RandomStream source(2, std::to_string(++made_));
    std::vector<int32_t> values(static_cast<size_t>(shape.element_count()));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<int32_t>(source.bits(i) % static_cast<uint32_t>(limit));
    return from_host<int32_t>(*device_, shape, values, {MemoryCategory::kActivations, "bench"});
  }

  void report(const char* name, double bytes, const std::function<void()>& run) {
    run();
    run();
    device_->synchronize();
    constexpr int kRuns = 15, kCalls = 4;
    std::vector<double> seconds;
    for (int i = 0; i < kRuns; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      for (int call = 0; call < kCalls; ++call) run();
      device_->synchronize();
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / kCalls);
    }
    std::nth_element(seconds.begin(), seconds.begin() + kRuns / 2, seconds.end());
    std::printf("%-40s %9.1f us %6.2f TB/s\n", name, seconds[kRuns / 2] * 1e6, bytes / seconds[kRuns / 2] * 1e-12);
    std::fflush(stdout);
  }

 private:
  std::unique_ptr<Device> device_;
  Stream stream_;
  int made_ = 0;
};

void norms(Bench& b, const char* name, int64_t rows, int64_t width) {
  const Tensor x = b.random({rows, width}), dy = b.random({rows, width}), weight = b.random({width});
  const Tensor y = b.empty({rows, width}, DType::kBF16), rstd = b.empty({rows}, DType::kF32);
  const Tensor dweight = b.random({width}, DType::kF32);
  const NormForwardArgs forward{.x = x, .weight = weight, .y = y, .rstd = rstd};
  const NormBackwardArgs backward{
      .dy = dy, .x = x, .weight = weight, .rstd = rstd, .dx = y, .dweight = dweight, .residual = dy};
  b.report(fmt::format("RMSNorm forward {}", name).c_str(), norm_forward_cost(forward).bytes,
           [&] { norm_forward(b.stream(), forward); });
  b.report(fmt::format("RMSNorm backward + residual {}", name).c_str(), norm_backward_cost(backward).bytes,
           [&] { norm_backward(b.stream(), backward); });
}

void activations(Bench& b, const char* name, int64_t rows, int64_t width) {
  const Tensor x = b.random({rows, 2 * width}), y = b.random({rows, width}), weight = b.random({rows}, DType::kF32);
  const Tensor dx = b.empty(x.shape(), DType::kBF16), dweight = b.empty({rows}, DType::kF32);
  const ActivationForwardArgs forward{.x = x, .y = y, .row_weight = weight};
  const ActivationBackwardArgs backward{.dy = y, .x = x, .dx = dx, .row_weight = weight, .drow_weight = dweight};
  b.report(fmt::format("SwiGLU x probability {}", name).c_str(), activation_forward_cost(forward).bytes,
           [&] { activation_forward(b.stream(), forward); });
  b.report(fmt::format("SwiGLU backward {}", name).c_str(), activation_backward_cost(backward).bytes,
           [&] { activation_backward(b.stream(), backward); });
}

void permutations(Bench& b, const char* name, int64_t tokens, int64_t width, int32_t experts, int64_t topk) {
  const Tensor choices = b.integers({tokens, topk}, experts);
  const int64_t rows = tokens * topk;
  const PermutationPlanArgs plan{.experts = choices,
                                 .expert_count = experts,
                                 .counts = b.empty({experts}, DType::kI64),
                                 .offsets = b.empty({experts + 1}, DType::kI64),
                                 .row_token = b.empty({rows}, DType::kI32),
                                 .row_slot = b.empty({rows}, DType::kI32),
                                 .slot_row = b.empty({tokens, topk}, DType::kI32)};
  b.report(fmt::format("permutation plan {}", name).c_str(), permutation_plan_cost(plan).bytes,
           [&] { permutation_plan(b.stream(), plan); });
  const Tensor x = b.random({tokens, width}), permuted = b.empty({rows, width}, DType::kBF16);
  const GatherRowsArgs gather{.x = x, .row_token = plan.row_token, .out = permuted};
  b.report(fmt::format("permute {}", name).c_str(), gather_rows_cost(gather).bytes,
           [&] { gather_rows(b.stream(), gather); });
  const CombineRowsArgs combine{.rows = permuted, .slot_row = plan.slot_row, .out = x};
  b.report(fmt::format("unpermute {}", name).c_str(), combine_rows_cost(combine).bytes,
           [&] { combine_rows(b.stream(), combine); });
}

void routers(Bench& b, const char* name, int64_t tokens, int64_t experts, int64_t topk) {
  const Tensor logits = b.random({tokens, experts}, DType::kF32), dlogits = b.random({tokens, experts}, DType::kF32);
  const Tensor chosen = b.empty({tokens, topk}, DType::kI32), probs = b.empty({tokens, topk}, DType::kF32);
  const RouterRule rule{.topk = topk};
  const RouterTopkArgs forward{.rule = rule, .logits = logits, .experts = chosen, .probs = probs};
  const RouterTopkBackwardArgs backward{
      .rule = rule, .logits = logits, .experts = chosen, .dprobs = probs, .dlogits = dlogits};
  const BalanceScoresArgs scores{.rule = rule,
                                 .logits = logits,
                                 .batch = 4,
                                 .counts = b.empty({4, experts}, DType::kF32),
                                 .score_sums = b.empty({4, experts}, DType::kF64)};
  b.report(fmt::format("router top-k {}", name).c_str(), router_topk_cost(forward).bytes,
           [&] { router_topk(b.stream(), forward); });
  b.report(fmt::format("router top-k backward {}", name).c_str(), router_topk_backward_cost(backward).bytes,
           [&] { router_topk_backward(b.stream(), backward); });
  b.report(fmt::format("balance scores {}", name).c_str(), balance_scores_cost(scores).bytes,
           [&] { balance_scores(b.stream(), scores); });
}

void heads(Bench& b, const char* name, int64_t heads, int64_t groups, int64_t size) {
  const int64_t batch = 4, sequence = 4096;
  const Tensor fused = b.random({sequence, batch, (heads + 2 * groups) * size});
  const Tensor q = b.empty({batch, heads, sequence, size}, DType::kBF16);
  const Tensor k = b.empty({batch, groups, sequence, size}, DType::kBF16), v = b.empty(k.shape(), DType::kBF16);
  const SplitQkvArgs split{.fused = fused, .q = q, .k = k, .v = v};
  b.report(fmt::format("split QKV {}", name).c_str(), split_qkv_cost(split).bytes,
           [&] { split_qkv(b.stream(), split); });
  const RopeArgs turn{
      .x = q, .positions = b.integers({batch, sequence}, 4096), .frequencies = b.random({size / 2}, DType::kF32)};
  b.report(fmt::format("RoPE {}", name).c_str(), rope_cost(turn).bytes, [&] { rope(b.stream(), turn); });
}

void adam(Bench& b, int64_t count) {
  const AdamArgs args{.weight = b.random({count}, DType::kF32),
                      .gradient = b.random({count}, DType::kF32),
                      .exp_avg = b.random({count}, DType::kF32),
                      .exp_avg_sq = b.random({count}, DType::kF32),
                      .compute = b.empty({count}, DType::kBF16),
                      .lr = 1e-6};
  abs_max(b.stream(), {.x = args.exp_avg_sq, .out = b.empty({1}, DType::kF32)});
  b.report("AdamW, bf16 weights out", adamw_cost(args).bytes, [&] { adamw(b.stream(), args); });
  const SquareSumArgs sum{.x = args.gradient, .out = b.empty({1}, DType::kF64)};
  b.report("norm of gradients", square_sum_cost(sum).bytes, [&] { square_sum(b.stream(), sum); });
  const CastArgs narrow{.x = args.weight, .y = args.compute};
  b.report("cast f32 to bf16", cast_cost(narrow).bytes, [&] { cast(b.stream(), narrow); });
}

void embeddings(Bench& b, int32_t vocabulary, int64_t width) {
  const Tensor table = b.random({vocabulary, width}), ids = b.integers({4, 4096}, vocabulary);
  const Tensor y = b.random({4096, 4, width}), dtable = b.random({vocabulary, width}, DType::kF32);
  const EmbeddingForwardArgs forward{.ids = ids, .table = table, .y = y};
  const EmbeddingBackwardArgs backward{.ids = ids, .dy = y, .dtable = dtable};
  b.report("embedding", embedding_forward_cost(forward).bytes, [&] { embedding_forward(b.stream(), forward); });
  b.report("embedding gradient", embedding_backward_cost(backward).bytes,
           [&] { embedding_backward(b.stream(), backward); });
}

void all() {
  Bench b;
  const Tensor from = b.random({int64_t{1} << 29}), to = b.empty(from.shape(), DType::kBF16);
  b.report("device copy", 2.0 * static_cast<double>(from.bytes()), [&] { cast(b.stream(), {.x = from, .y = to}); });
  norms(b, "16384x4096", 16384, 4096);
  norms(b, "16384x2048", 16384, 2048);
  norms(b, "524288x128", 524288, 128);
  activations(b, "32768x14336", 32768, 14336);
  activations(b, "131072x768", 131072, 768);
  permutations(b, "Mixtral", 16384, 4096, 8, 2);
  permutations(b, "Qwen3-30B", 16384, 2048, 128, 8);
  routers(b, "Mixtral", 16384, 8, 2);
  routers(b, "Qwen3-30B", 16384, 128, 8);
  heads(b, "Mixtral", 32, 8, 128);
  heads(b, "Qwen3-30B", 32, 4, 128);
  adam(b, int64_t{1} << 29);
  embeddings(b, 151936, 2048);
}

}  // namespace
}  // namespace conclave::kernels

int main() { conclave::kernels::all(); }

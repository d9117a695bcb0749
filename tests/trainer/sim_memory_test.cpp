// The simulator's peak is the measured peak: the same trainer code, the same books.
#include <gtest/gtest.h>

#include "trainer/small_models.h"

namespace conclave {
namespace {

MemoryStatistics after_steps(const Options& options, const std::string& device_name) {
  const auto device = make_device(device_name);
  Engine engine(options, options.model.vocab_size, *device, true);
  for (int64_t step = 0; step < 2; ++step) {
    StepRequest request;
    request.rates = {.lr = 1e-3, .decoupled_lr = 1e-3, .weight_decay = 0.1, .step = step + 1};
    request.check_finite = device_name != "sim";
    engine.train_step(random_batches(options, step), request);
  }
  if (device_name == "sim") {
    EXPECT_GT(device->ledger().total().flops, 0);
  }
  return device->allocator().statistics();
}

class SimMemory : public ::testing::TestWithParam<std::pair<std::string, Words>> {};

TEST_P(SimMemory, PeakEqualsTheMeasuredOneWithinOnePercent) {
  const Options options = small_moe(GetParam().second);
  const MemoryStatistics cpu = after_steps(options, "cpu"), sim = after_steps(options, "sim");
  const auto close = [](int64_t a, int64_t b) {
    return std::abs(static_cast<double>(a - b)) <= 0.01 * static_cast<double>(std::max(a, b));
  };
  EXPECT_TRUE(close(cpu.peak_total, sim.peak_total))
      << cpu.peak_total << " measured, " << sim.peak_total << " simulated";
  for (size_t i = 0; i < kMemoryCategoryCount; ++i) {
    EXPECT_TRUE(close(cpu.category_peak[i], sim.category_peak[i]))
        << memory_category_name(static_cast<MemoryCategory>(i)) << ": " << cpu.category_peak[i] << " measured, "
        << sim.category_peak[i] << " simulated";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, SimMemory,
    ::testing::Values(std::pair<std::string, Words>{"moe_f32", {}},
                      std::pair<std::string, Words>{"wide_bf16",
                                                    {"--bf16", "--hidden-size", "64", "--seq-length", "96",
                                                     "--num-experts", "16", "--moe-router-topk", "4"}},
                      std::pair<std::string, Words>{
                          "padded_capacity",
                          {"--moe-expert-capacity-factor", "1.25", "--moe-pad-expert-input-to-capacity",
                           "--recompute-granularity", "selective", "--recompute-modules", "moe_act", "layernorm"}},
                      std::pair<std::string, Words>{"dropping_biases",
                                                    {"--moe-expert-capacity-factor", "1.0", "--normalization",
                                                     "LayerNorm", "--recompute-granularity", "full",
                                                     "--recompute-method", "uniform", "--recompute-num-layers", "2"}}),
    [](const auto& tested) { return tested.param.first; });

}  // namespace
}  // namespace conclave

// A step whose passes are replayed from a CUDA graph gives the bits of one that is not. Skipped where there is no GPU.
#include <gtest/gtest.h>

#include "base/error.h"
#include "device/cuda_device.h"
#include "trainer/small_models.h"

namespace conclave {
namespace {

struct Outcome {
  std::vector<std::vector<float>> weights;
  std::vector<double> numbers;
  int64_t choices = 0;
};

Outcome run(const Options& options) {
  const auto device = make_cuda_device();
  Engine engine(options, options.model.vocab_size, *device, true);
  Outcome out;
  for (int64_t step = 0; step < 6; ++step) {
    const StepResult result = take_step(engine, options, step);
    out.numbers.insert(out.numbers.end(), {result.loss_sum, result.tokens, result.gradient_norm});
  }
  for (const RoutingSummary::Layer& layer : engine.take_routing().layers) {
    out.choices += layer.report.choices;
    out.numbers.insert(out.numbers.end(), layer.report.tokens.begin(), layer.report.tokens.end());
    for (const RoutingReport::Loss& loss : layer.report.losses) out.numbers.push_back(loss.sum);
  }
  out.weights = all_weights(engine);
  return out;
}

TEST(RecordedStep, SameBitsAsWithoutRecording) {
  try {
    make_cuda_device();
  } catch (const UserError& error) {
    GTEST_SKIP() << error.what();
  }
  for (const Words& more : {Words{}, Words{"--bf16"}}) {
    Words words = {"--attention-dropout", "0", "--hidden-dropout", "0"};
    words.insert(words.end(), more.begin(), more.end());
    const Options plain = small_moe(words);
    Options recorded = plain;
    recorded.memory.cuda_graph_impl = "full_iteration";
    ASSERT_NE(make_recorded_passes(recorded, *make_cuda_device(), 1, 2), nullptr);
    const Outcome a = run(plain), b = run(recorded);
    EXPECT_EQ(a.numbers, b.numbers);
    EXPECT_EQ(a.choices, b.choices);
    EXPECT_EQ(a.weights, b.weights);
  }
}

}  // namespace
}  // namespace conclave

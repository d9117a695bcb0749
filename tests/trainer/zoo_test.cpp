// The model zoo runs: full sizes on the simulator, their cut-down twins for real.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/text.h"
#include "trainer/dry_run.h"
#include "trainer/small_models.h"

namespace conclave {
namespace {

std::vector<std::string> zoo(bool small) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(CONCLAVE_SOURCE_DIR "/configs/models")) {
    const std::string path = entry.path().string();
    if (path.ends_with(".yaml") && path.ends_with("_small.yaml") == small) out.push_back(path);
  }
  return out;
}

TEST(Zoo, FullSizesRunOnTheSimulator) {
  for (const std::string& path : zoo(false)) {
    ParsedOptions parsed = parse_yaml(read_file(path), path);
    parsed.options.training.global_batch_size = 1;
    const Options options = checked_options(parsed, Command::kTrain);
    const auto device = make_device("sim");
    Engine engine(options, options.model.vocab_size, *device, true);
    StepRequest request;
    request.check_finite = false;
    const MicroBatch batch = plain_batch(1, options.model.seq_length, 0);
    engine.train_step(std::span(&batch, 1), request);
    const ParameterCount count = count_parameters(engine.spec());
    // bf16 weights, f32 gradients, main weights and two moments: 18 bytes for each parameter, and activations.
    EXPECT_GT(static_cast<double>(device->allocator().statistics().peak_total),
              18.0 * static_cast<double>(count.total));
    EXPECT_GT(device->ledger().total().flops, 6.0 * static_cast<double>(count.active));
  }
}

// A layout as the head of a configuration recommends it: "#  64 GPUs: state 43 GB, peak 68.8 GB. ..." and below it
// "#   layout: key: value, ...".
struct RecommendedLayout {
  int64_t gpus = 0;
  double peak = 0;  // GB
  Words words;
};

std::vector<RecommendedLayout> recommended_layouts(const std::string& path) {
  std::vector<RecommendedLayout> out;
  int64_t gpus = 0;
  double peak = 0;
  for (const std::string& line : split(read_file(path), '\n')) {
    const size_t count = line.find(" GPUs: "), layout = line.find("layout: ");
    if (!line.starts_with("#")) break;
    if (count != std::string::npos) {
      gpus = parse_int(trim(line.substr(1, count - 1))).value_or(0);
      const size_t told = line.find(", peak ");
      peak = told == std::string::npos ? 0 : std::strtod(line.c_str() + told + 7, nullptr);
    }
    if (layout == std::string::npos || !trim(line.substr(1, layout - 1)).empty()) continue;
    RecommendedLayout found{gpus, peak, {"--config", path}};
    for (const std::string& pair : split(line.substr(layout + 8), ',')) {
      const std::vector<std::string> parts = split_words(replace_all(pair, ":", " "));
      found.words.push_back("--" + parts.at(0) + "=" + parts.at(1));
    }
    out.push_back(found);
  }
  return out;
}

TEST(Zoo, RecommendedLayoutsFitTheirGpus) {
  for (const std::string& path : zoo(false)) {
    const std::vector<RecommendedLayout> layouts = recommended_layouts(path);
    EXPECT_GE(layouts.size(), 2u) << path;
    for (const RecommendedLayout& layout : layouts) {
      ParsedOptions parsed = parse_command_line(Command::kTrain, layout.words);
      parsed.options.pretended.world_size = layout.gpus;
      int64_t largest = 0;
      for (const RankReport& report : dry_run_stages(parsed)) {
        largest = std::max(largest, report.memory.peak_total);
        EXPECT_GT(report.memory.peak_total, int64_t{10} << 30) << path << " on " << layout.gpus;
        EXPECT_GT(report.step.flops, 1e12) << path << " on " << layout.gpus;
      }
      EXPECT_LE(largest, int64_t{80} * 1000 * 1000 * 1000) << path << " on " << layout.gpus;
      EXPECT_NEAR(static_cast<double>(largest) / 1e9, layout.peak, 0.1) << path << " on " << layout.gpus;
    }
  }
}

TEST(Zoo, TwinsTrain) {
  for (const std::string& path : zoo(true)) {
    const Options options = checked_options(parse_yaml(read_file(path), path), Command::kTrain);
    const auto device = make_device("cpu");
    Engine engine(options, options.model.vocab_size, *device, true);
    double first = 0, last = 0;
    for (int64_t step = 0; step < 4; ++step) {
      StepRequest request;
      request.rates = {.lr = 2e-3, .decoupled_lr = 2e-3, .weight_decay = 0.1, .step = step + 1};
      last = engine.train_step(random_batches(options, 0), request).lm_loss();
      if (step == 0) first = last;
    }
    EXPECT_TRUE(std::isfinite(last)) << path;
    EXPECT_LT(last, first - 0.1) << path;  // the same batch again and again
  }
}

}  // namespace
}  // namespace conclave

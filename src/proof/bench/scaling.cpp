#include "proof/bench/scaling.h"

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "config/validate.h"
#include "proof/bench/random_step.h"
#include "trainer/job.h"
#include "trainer/text_table.h"

namespace conclave::proof {
namespace {

constexpr int64_t kRanks = 2, kMicroBatches = 8;

struct Strategy {
  const char* name;
  int64_t ranks;
  bool balanced;
  void (*apply)(Options& options);
};

// Layers of the first of two stages, so that both have about as much to do.
int64_t first_stage_layers(const Options& options) {
  const ModelOptions& model = options.model;
  const double width = static_cast<double>(model.hidden_size);
  const bool experts = options.moe.num_experts > 0;
  const bool own_width = experts && options.moe.moe_ffn_hidden_size > 0;
  const double inner = static_cast<double>(own_width ? options.moe.moe_ffn_hidden_size : model.ffn_hidden_size) *
                       static_cast<double>(experts ? options.moe.moe_router_topk : 1);
  const double layer = 4 * width * width + (model.swiglu ? 3 : 2) * width * inner;
  const double head = width * static_cast<double>(model.vocab_size);
  const auto layers = static_cast<double>(model.num_layers);
  return std::clamp<int64_t>(static_cast<int64_t>((layers + head / layer) / 2 + 0.5), 1, model.num_layers);
}

const Strategy kStrategies[] = {
    {"one process", 1, false, [](Options&) {}},
    {"DP2, ZeRO-1", kRanks, false, [](Options& options) { options.parallel.use_distributed_optimizer = true; }},
    {"EP2", kRanks, false,
     [](Options& options) {
       options.parallel.expert_model_parallel_size = kRanks;
       options.parallel.use_distributed_optimizer = true;
       options.moe.moe_token_dispatcher_type = "alltoall";
     }},
    {"PP2", kRanks, false,
     [](Options& options) {
       options.parallel.pipeline_model_parallel_size = kRanks;
       const int64_t first = first_stage_layers(options);
       options.parallel.pipeline_model_parallel_layout =
           "E" + std::string(static_cast<size_t>(first), 't') + "|" +
           std::string(static_cast<size_t>(options.model.num_layers - first), 't') + "L";
     }},
    {"TP2, SP", kRanks, false,
     [](Options& options) {
       options.parallel.tensor_model_parallel_size = kRanks;
       options.parallel.sequence_parallel = true;
     }},
    {"one process, balanced", 1, true, [](Options&) {}},
    {"EP2, balanced", kRanks, true, [](Options& options) {
       options.parallel.expert_model_parallel_size = kRanks;
       options.parallel.use_distributed_optimizer = true;
       options.moe.moe_token_dispatcher_type = "alltoall";
     }}};

std::vector<MicroBatch> own_batches(Engine& engine, const std::vector<MicroBatch>& all) {
  const RankLayout& layout = engine.groups().layout();
  std::vector<MicroBatch> own;
  for (auto i = static_cast<size_t>(layout.dense(engine.groups().rank()).data); i < all.size();
       i += static_cast<size_t>(layout.data_size()))
    own.push_back(all[i]);
  return own;
}

// Seconds of steps on this rank; all ranks take as many.
std::vector<double> step_times(World& world, const ParsedOptions& parsed, int64_t vocab, int64_t steps) {
  const Options options = checked_options(parsed, Command::kTrain);
  const auto device = make_device("cpu");
  const auto groups = make_job_groups(options, world);
  Engine engine(options, vocab, *device, true, *groups);
  std::vector<double> times;
  for (int64_t step = 0; step <= steps; ++step) {
    const std::vector<MicroBatch> own = own_batches(engine, random_step(options, vocab, step));
    world.all().barrier("scaling");
    const Stopwatch watch;
    one_step(engine, own, step + 1, options.optimizer.clip_grad);
    world.all().barrier("scaling");
    if (step > 0) times.push_back(watch.seconds());
  }
  return times;
}

ScalingRow measured(const Strategy& strategy, ParsedOptions parsed, int64_t vocab, int64_t steps) {
  ScalingRow row{.name = strategy.name};
  strategy.apply(parsed.options);
  parsed.options.moe.moe_router_force_load_balancing = strategy.balanced;
  parsed.options.parallel.ranks_as_threads = strategy.ranks;
  try {
    std::vector<double> times;
    run_job(parsed, [&](World& world, const ParsedOptions& laid_out) {
      const std::vector<double> own = step_times(world, laid_out, vocab, steps);
      if (world.rank() == 0) times = own;
      return 0;
    });
    std::sort(times.begin(), times.end());
    row.best_seconds = times.front();
    row.median_seconds = times[times.size() / 2];
    row.tokens_per_second =
        static_cast<double>(parsed.options.training.global_batch_size * parsed.options.model.seq_length) /
        row.median_seconds;
  } catch (const UserError& error) {
    row.obstacle = error.what();
  }
  return row;
}

}  // namespace

std::vector<ScalingRow> bench_scaling(const ParsedOptions& given, int64_t vocab, double seconds) {
  ParsedOptions parsed = given;
  parsed.options.parallel = ParallelOptions{};
  parsed.options.model.vocab_size = vocab;
  parsed.options.training.micro_batch_size = std::max<int64_t>(parsed.options.training.micro_batch_size, 1);
  parsed.options.training.global_batch_size = kMicroBatches * parsed.options.training.micro_batch_size;
  int64_t steps = 1;
  std::vector<ScalingRow> rows;
  double one[2] = {};
  for (const Strategy& strategy : kStrategies) {
    if (parsed.options.moe.num_experts == 0 && (strategy.balanced || std::string_view(strategy.name) == "EP2"))
      continue;
    ScalingRow row = measured(strategy, parsed, vocab, steps);
    if (rows.empty() && row.obstacle.empty()) {
      steps = std::clamp<int64_t>(static_cast<int64_t>(seconds / row.median_seconds), 3, 100);
      row = measured(strategy, parsed, vocab, steps);
    }
    if (strategy.ranks == 1) one[strategy.balanced] = row.tokens_per_second;
    row.share = row.tokens_per_second / std::max(one[strategy.balanced], 1e-9);
    rows.push_back(row);
  }
  return rows;
}

std::string scaling_table(const std::vector<ScalingRow>& rows) {
  std::vector<std::vector<std::string>> cells;
  for (const ScalingRow& row : rows) {
    if (!row.obstacle.empty()) {
      cells.push_back({row.name, "-", "-", "-", row.obstacle});
      continue;
    }
    cells.push_back({row.name, fmt::format("{:.1f}", 1e3 * row.median_seconds),
                     fmt::format("{:.1f}", 1e3 * row.best_seconds), fmt::format("{:.0f}", row.tokens_per_second),
                     fmt::format("{:.1f} %", 100 * row.share)});
  }
  return text_table({"layout", "median ms", "best ms", "tokens/s", "of one process"}, cells);
}

Json scaling_json(const std::vector<ScalingRow>& rows) {
  Json out = Json::array();
  for (const ScalingRow& row : rows) {
    Json entry = Json::object();
    entry["layout"] = row.name;
    if (row.obstacle.empty()) {
      entry["median_seconds"] = row.median_seconds;
      entry["best_seconds"] = row.best_seconds;
      entry["tokens_per_second"] = row.tokens_per_second;
      entry["share"] = row.share;
    } else {
      entry["obstacle"] = row.obstacle;
    }
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace conclave::proof

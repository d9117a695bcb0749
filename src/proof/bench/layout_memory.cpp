#include "proof/bench/layout_memory.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "trainer/dry_run.h"
#include "trainer/text_table.h"

namespace conclave::proof {
namespace {

struct Strategy {
  const char* name;
  void (*apply)(Options& options, int64_t ranks);
  const char *activations, *weights, *optimizer;  ///< the guide's entries
};

const Strategy kStrategies[] = {
    {"TP",
     [](Options& options, int64_t ranks) {
       options.parallel.tensor_model_parallel_size = ranks;
       options.parallel.sequence_parallel = true;
     },
     "1/N", "1/N", "1/N"},
    {"EP",
     [](Options& options, int64_t ranks) {
       options.parallel.expert_model_parallel_size = ranks;
       options.moe.moe_token_dispatcher_type = "alltoall";
     },
     "~1", "1/N in MoE layers", "1/N"},
    {"PP", [](Options& options, int64_t ranks) { options.parallel.pipeline_model_parallel_size = ranks; }, "1", "1/N",
     "1/N"},
    {"PP, 2 chunks",
     [](Options& options, int64_t ranks) {
       options.parallel.pipeline_model_parallel_size = ranks;
       options.parallel.num_virtual_stages_per_pipeline_rank = 2;
     },
     ">1", "1/N", "1/N"},
    {"CP", [](Options& options, int64_t ranks) { options.parallel.context_parallel_size = ranks; }, "1/N", "1", "1/N"},
    {"DP", [](Options&, int64_t) {}, "1", "1", "1/N"}};

// The model, on one rank.
ParsedOptions of_one_rank(ParsedOptions parsed) {
  Options& options = parsed.options;
  options.parallel = ParallelOptions{};
  options.parallel.use_distributed_optimizer = true;
  options.pretended = PretendedOptions{};
  options.pretended.world_size = 1;
  if (!options.optimizer.lr) options.optimizer.lr = 1e-4;
  options.training.train_iters = kDryRunSteps;
  options.training.train_samples = 0;
  options.training.micro_batch_size = std::max<int64_t>(options.training.micro_batch_size, 1);
  options.training.rampup_batch_size.clear();
  options.training.step_batch_size_schedule.reset();
  options.training.eval_global_batch_size = 0;
  options.training.global_batch_size = options.training.micro_batch_size;
  // A schedule may be longer than this run.
  options.optimizer.lr_warmup_iters = options.optimizer.lr_warmup_samples = 0;
  options.optimizer.lr_decay_iters = options.optimizer.lr_decay_samples = 0;
  return parsed;
}

struct Held {
  double activations, weights, optimizer;
};

Held held_by_rank_0(const ParsedOptions& parsed) {
  const MemoryStatistics memory = dry_run(parsed, 0).memory;
  const auto peak = [&](MemoryCategory category) {
    return static_cast<double>(memory.category_peak[static_cast<size_t>(category)]);
  };
  return {peak(MemoryCategory::kActivations), peak(MemoryCategory::kWeights) + peak(MemoryCategory::kGradients),
          peak(MemoryCategory::kOptimizer)};
}

LayoutMemoryRow row_of(const Strategy& strategy, int64_t ranks, ParsedOptions parsed, const Held& one) {
  LayoutMemoryRow row{.strategy = strategy.name,
                      .ranks = ranks,
                      .guide_activations = strategy.activations,
                      .guide_weights = strategy.weights,
                      .guide_optimizer = strategy.optimizer};
  Options& options = parsed.options;
  options.pretended.world_size = ranks;
  strategy.apply(options, ranks);
  // So many that a pipeline is full.
  options.training.global_batch_size *= 4 * ranks;
  try {
    const Held held = held_by_rank_0(parsed);
    row.activations = held.activations / one.activations;
    row.weights = held.weights / one.weights;
    row.optimizer = held.optimizer / one.optimizer;
  } catch (const UserError& error) {
    row.obstacle = error.what();
  }
  return row;
}

}  // namespace

std::vector<LayoutMemoryRow> bench_layout_memory(const ParsedOptions& parsed) {
  // Each of the jobs would tell what it thinks of the options.
  const QuietThread quiet;
  const ParsedOptions base = of_one_rank(parsed);
  const Held one = held_by_rank_0(base);
  std::vector<LayoutMemoryRow> rows;
  for (const Strategy& strategy : kStrategies) {
    if (base.options.moe.num_experts == 0 && std::string_view(strategy.name) == "EP") continue;
    for (const int64_t ranks : {2, 4, 8}) rows.push_back(row_of(strategy, ranks, base, one));
  }
  return rows;
}

std::string layout_memory_table(const std::vector<LayoutMemoryRow>& rows) {
  std::vector<std::vector<std::string>> cells;
  const auto share = [](double value) { return fmt::format("{:.3f}", value); };
  for (const LayoutMemoryRow& row : rows) {
    const std::string ranks = std::to_string(row.ranks);
    if (!row.obstacle.empty()) {
      cells.push_back({row.strategy, ranks, "-", row.guide_activations, "-", row.guide_weights, "-",
                       row.guide_optimizer + "  " + row.obstacle.substr(0, row.obstacle.find('\n'))});
      continue;
    }
    cells.push_back({row.strategy, ranks, share(row.activations), row.guide_activations, share(row.weights),
                     row.guide_weights, share(row.optimizer), row.guide_optimizer});
  }
  return text_table({"layout", ">N", ">activations", "guide", ">weights", "guide", ">optimizer", "guide"}, cells);
}

Json layout_memory_json(const std::vector<LayoutMemoryRow>& rows) {
  Json out = Json::array();
  for (const LayoutMemoryRow& row : rows) {
    Json one = Json::object();
    one["layout"] = row.strategy;
    one["ranks"] = row.ranks;
    if (row.obstacle.empty()) {
      one["activations"] = row.activations;
      one["weights"] = row.weights;
      one["optimizer"] = row.optimizer;
    } else {
      one["obstacle"] = row.obstacle;
    }
    one["guide_activations"] = row.guide_activations;
    one["guide_weights"] = row.guide_weights;
    one["guide_optimizer"] = row.guide_optimizer;
    out.push_back(one);
  }
  return out;
}

}  // namespace conclave::proof

#include <fmt/core.h>

#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "config/parse.h"
#include "config/resolve.h"
#include "config/validate.h"
#include "pipeline/pipeline_part.h"
#include "schedule/batch_schedule.h"
#include "schedule/pipeline_drawing.h"
#include "trainer/dry_run.h"

namespace conclave {
namespace {

// The fewest ranks that the layout can have.
int64_t fewest_ranks(const ParallelOptions& parallel) {
  const int64_t dense = parallel.tensor_model_parallel_size * parallel.context_parallel_size;
  const int64_t expert_tensor = parallel.expert_tensor_parallel_size > 0 ? parallel.expert_tensor_parallel_size
                                                                         : parallel.tensor_model_parallel_size;
  return parallel.pipeline_model_parallel_size * std::lcm(dense, expert_tensor * parallel.expert_model_parallel_size);
}

// Options of the layout alone, checked.
Options layout_options(ParsedOptions parsed) {
  CONCLAVE_USER_CHECK(parsed.options.model.num_layers > 0,
                      "a pipeline places layers; --num-layers is not given; add --num-layers N");
  ParallelOptions& parallel = parsed.options.parallel;
  if (parallel.world_size == 1) parallel.world_size = fewest_ranks(parallel);
  if (parsed.options.training.micro_batch_size == 0) parsed.options.training.micro_batch_size = 1;
  const std::vector<std::string> problems = option_contradictions(parsed, Command::kPlan);
  if (!problems.empty()) throw UsageError(join(problems, "\n"));
  return resolved(parsed.options);
}

std::string drawing(const ParsedOptions& parsed) {
  const Options options = layout_options(parsed);
  const LayerPlacement placement = place_layers(placement_args(options));
  const BatchSchedule batches(options.training, data_parallel_size(options.parallel), options.model.seq_length);
  const PipelinePart part = pipeline_part(options, placement, 0);
  PipelineStepArgs args = training_step_args(part, batches.at(0).micro_batches);
  args.shape.merged = options.parallel.overlap_moe_expert_parallel_comm;
  const PipelinePlan plan = plan_pipeline(args);
  if (options.plan.draw_format == "svg") return draw_svg(plan);
  return placement_text(placement, part.ranks) + "\n" + draw_text(plan);
}

// What a plan does not need and training does.
void add_defaults(Options* options) {
  if (!options->optimizer.lr) options->optimizer.lr = 1e-4;
  if (options->training.train_iters == 0 && options->training.train_samples == 0) options->training.train_iters = 2;
  if (options->training.micro_batch_size == 0) options->training.micro_batch_size = 1;
}

std::string report(ParsedOptions parsed) {
  Options& options = parsed.options;
  add_defaults(&options);
  if (options.pretended.rank && !options.pretended.world_size)
    throw UsageError("--rank is one of --world-size ranks; the size is not given; add --world-size N");
  if (!options.pretended.world_size) options.pretended.world_size = fewest_ranks(options.parallel);
  if (options.pretended.rank) return rank_report_text(dry_run(parsed, *options.pretended.rank));
  const std::vector<RankReport> reports = dry_run_stages(parsed);
  return fmt::format("{} ranks, one of each pipeline stage; bytes at the peak\n\n{}", *options.pretended.world_size,
                     rank_reports_table(reports));
}

}  // namespace

int plan_command(const Words& words) {
  const ParsedOptions parsed = parse_command_line(Command::kPlan, words);
  if (!parsed.positionals.empty())
    throw UsageError(fmt::format("conclave plan takes options only; got '{}'", parsed.positionals[0]));
  fmt::print("{}", parsed.options.plan.draw ? drawing(parsed) : report(parsed));
  return 0;
}

}  // namespace conclave

#include "base/error.h"
#include "base/text.h"
#include "config/pipeline_layout.h"
#include "config/resolve.h"
#include "config/rules/rules.h"

namespace conclave {
namespace {

// The ways to say which layers a rank gets exclude each other.
bool check_ways(Rules& rules) {
  const ParallelOptions& parallel = rules.raw.parallel;
  std::vector<std::string> chunks;
  if (parallel.num_layers_per_virtual_pipeline_stage > 0) chunks.push_back("--num-layers-per-virtual-pipeline-stage");
  if (parallel.num_virtual_stages_per_pipeline_rank > 0) chunks.push_back("--num-virtual-stages-per-pipeline-rank");
  if (parallel.pipeline_model_parallel_layout) chunks.push_back("--pipeline-model-parallel-layout");
  rules.refuse(chunks.size() > 1, "at most one option gives the chunks of a pipeline rank; got {}; keep one",
               join(chunks, " and "));
  const bool ends = parallel.decoder_first_pipeline_num_layers > 0 || parallel.decoder_last_pipeline_num_layers > 0;
  const bool counted = parallel.account_for_embedding_in_pipeline_split || parallel.account_for_loss_in_pipeline_split;
  rules.refuse(
      ends && counted,
      "--decoder-first/last-pipeline-num-layers and --account-for-embedding/loss-in-pipeline-split exclude each "
      "other; both are given; drop one kind");
  rules.refuse((ends || counted) && parallel.pipeline_model_parallel_layout,
               "--pipeline-model-parallel-layout says where every layer is; got another way of splitting as well; drop "
               "one");
  rules.refuse(ends && parallel.num_layers_per_virtual_pipeline_stage > 0,
               "--decoder-first/last-pipeline-num-layers with chunks needs --num-virtual-stages-per-pipeline-rank; got "
               "--num-layers-per-virtual-pipeline-stage; replace it");
  return chunks.size() <= 1 && !(ends && counted) && !((ends || counted) && parallel.pipeline_model_parallel_layout);
}

void check_layout(Rules& rules) {
  const ParallelOptions& parallel = rules.raw.parallel;
  try {
    const PipelineLayout layout = parse_pipeline_layout(*parallel.pipeline_model_parallel_layout);
    check_pipeline_layout(layout, {parallel.pipeline_model_parallel_size, rules.raw.model.num_layers,
                                   rules.raw.attention.mtp_num_layers, std::nullopt});
  } catch (const UserError& error) {
    rules.problems.push_back(error.what());
  }
}

void check_uneven(Rules& rules, int64_t chunks) {
  const ParallelOptions& parallel = rules.raw.parallel;
  const int64_t first = parallel.decoder_first_pipeline_num_layers, last = parallel.decoder_last_pipeline_num_layers;
  const int64_t ranks = parallel.pipeline_model_parallel_size - (first > 0) - (last > 0);
  const int64_t layers = rules.raw.model.num_layers - first - last;
  rules.refuse(ranks < 0 || layers < 0 || (ranks == 0) != (layers == 0) || (ranks > 0 && layers % ranks != 0),
               "layers left by --decoder-first/last-pipeline-num-layers must spread evenly over the ranks left; got {} "
               "layers for {} ranks; change the counts",
               layers, ranks);
  if (chunks <= 1) return;
  const int64_t middle = ranks > 0 ? layers / ranks : 0;
  rules.refuse(first % chunks != 0 || last % chunks != 0 || middle % chunks != 0,
               "with {} chunks on a rank the layers of each rank must be a multiple of that; got {} first, {} in the "
               "middle, {} last; change the counts",
               chunks, first, middle, last);
}

void check_even(Rules& rules, int64_t chunks) {
  const ParallelOptions& parallel = rules.raw.parallel;
  const int64_t ranks = parallel.pipeline_model_parallel_size;
  const int64_t layers = rules.raw.model.num_layers + parallel.account_for_embedding_in_pipeline_split +
                         parallel.account_for_loss_in_pipeline_split;
  rules.refuse(layers % ranks != 0,
               "--num-layers (with embedding and loss where they count) must be divisible by "
               "--pipeline-model-parallel-size; got {} and {}; change one of them or use "
               "--decoder-first-pipeline-num-layers",
               layers, ranks);
  rules.refuse(layers % ranks == 0 && chunks > 1 && layers / ranks % chunks != 0,
               "the layers of a rank must be divisible by its chunks; got {} and {}; choose "
               "--num-virtual-stages-per-pipeline-rank from {}",
               layers / ranks, chunks, divisors_text(layers / ranks));
}

void check_interleaving(Rules& rules, int64_t chunks) {
  const ParallelOptions& parallel = rules.resolved.parallel;
  const int64_t ranks = parallel.pipeline_model_parallel_size;
  if (chunks <= 1) return;
  rules.refuse(ranks == 1,
               "several chunks on a pipeline rank need --pipeline-model-parallel-size above 1; got 1 and {} chunks; "
               "raise it or drop --num-layers-per-virtual-pipeline-stage and its like",
               chunks);
  rules.refuse(
      ranks == 2 && !parallel.overlap_p2p_communication,
      "several chunks on a pipeline rank without overlapped sends need --pipeline-model-parallel-size above 2; "
      "got 2; drop --no-overlap-p2p-communication");
  const TrainingOptions& training = rules.resolved.training;
  const int64_t share = training.micro_batch_size * data_parallel_size(parallel);
  if (ranks == 1 || share == 0 || training.global_batch_size == 0 || training.global_batch_size % share != 0) return;
  const int64_t group = parallel.microbatch_group_size_per_virtual_pipeline_stage;
  const int64_t batches = training.global_batch_size / share;
  rules.refuse(group < ranks || group > batches,
               "--microbatch-group-size-per-virtual-pipeline-stage must be between --pipeline-model-parallel-size ({}) "
               "and the micro-batches of a step ({}); got {}; change it or the batch",
               ranks, batches, group);
  rules.refuse(
      group > 0 && batches % group != 0 && batches % group < ranks,
      "the last group of micro-batches must hold at least --pipeline-model-parallel-size of them; got {} of {} "
      "in groups of {}; change the batch or --microbatch-group-size-per-virtual-pipeline-stage",
      batches % group, batches, group);
}

// The values of --num-layers-per-virtual-pipeline-stage that would do.
std::string chunk_layers_fix(const Options& options) {
  const int64_t layers = options.model.num_layers, ranks = options.parallel.pipeline_model_parallel_size;
  if (layers % ranks == 0) return "choose from " + divisors_text(layers / ranks);
  return "first choose --pipeline-model-parallel-size from " + divisors_text(layers);
}

}  // namespace

void check_pipeline_rules(Rules& rules) {
  const ParallelOptions& parallel = rules.raw.parallel;
  const bool one_way = check_ways(rules);
  if (!one_way || rules.raw.model.num_layers == 0) return;
  if (parallel.pipeline_model_parallel_layout) check_layout(rules);
  const int64_t chunks = virtual_pipeline_size(rules.raw);
  rules.refuse(
      chunks == 0 && parallel.num_layers_per_virtual_pipeline_stage > 0,
      "--num-layers-per-virtual-pipeline-stage must divide the layers of a pipeline rank; got {} for {} layers "
      "on {} ranks; {}",
      parallel.num_layers_per_virtual_pipeline_stage, rules.raw.model.num_layers, parallel.pipeline_model_parallel_size,
      chunk_layers_fix(rules.raw));
  if (chunks == 0) return;
  if (parallel.decoder_first_pipeline_num_layers > 0 || parallel.decoder_last_pipeline_num_layers > 0) {
    check_uneven(rules, chunks);
  } else if (!parallel.pipeline_model_parallel_layout && parallel.pipeline_model_parallel_size > 1) {
    check_even(rules, chunks);
  }
  check_interleaving(rules, chunks);
}

}  // namespace conclave

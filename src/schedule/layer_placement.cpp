#include "schedule/layer_placement.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "config/pipeline_layout.h"
#include "config/resolve.h"

namespace conclave {
namespace {

LayerPlacement place_by_layout(const PlacementArgs& args) {
  CONCLAVE_USER_CHECK(
      !args.first_layers && !args.last_layers && !args.count_embedding && !args.count_loss,
      "--pipeline-model-parallel-layout says where every layer is; got another way of splitting as well; "
      "drop one");
  const PipelineLayout layout = parse_pipeline_layout(*args.layout);
  check_pipeline_layout(layout, {args.pipeline_size, args.num_layers, args.mtp_num_layers, args.virtual_size});
  LayerPlacement placement;
  placement.virtual_size = static_cast<int64_t>(layout.stages.size()) / args.pipeline_size;
  int64_t layers = 0, predictions = 0;
  for (size_t i = 0; i < layout.stages.size(); ++i) {
    const std::string& symbols = layout.stages[i];
    StagePlacement stage;
    stage.pipeline_rank = static_cast<int64_t>(i) % args.pipeline_size;
    stage.chunk = static_cast<int64_t>(i) / args.pipeline_size;
    stage.first_layer = layers;
    stage.layers = std::count(symbols.begin(), symbols.end(), 't');
    stage.embedding = symbols.find('E') != std::string::npos;
    stage.loss = symbols.find('L') != std::string::npos;
    for (const char symbol : symbols) {
      if (symbol == 'm') stage.mtp_layers.push_back(predictions++);
    }
    layers += stage.layers;
    if (!stage.mtp_layers.empty()) placement.mtp_before_last_rank = stage.pipeline_rank != args.pipeline_size - 1;
    placement.stages.push_back(std::move(stage));
  }
  return placement;
}

// Decoder layers of one chunk of every rank, with embedding and loss where they count.
std::vector<int64_t> even_counts(const PlacementArgs& args, int64_t chunks) {
  const int64_t counted = args.num_layers + args.count_embedding + args.count_loss;
  CONCLAVE_USER_CHECK(counted % args.pipeline_size == 0,
                      "--num-layers (with embedding and loss where they count) must be divisible by "
                      "--pipeline-model-parallel-size; got {} and {}; change one of them or use "
                      "--decoder-first-pipeline-num-layers",
                      counted, args.pipeline_size);
  const int64_t of_rank = counted / args.pipeline_size;
  CONCLAVE_USER_CHECK(of_rank % chunks == 0,
                      "the layers of a rank must be divisible by its chunks; got {} and {}; choose "
                      "--num-virtual-stages-per-pipeline-rank from {}",
                      of_rank, chunks, divisors_text(of_rank));
  return std::vector<int64_t>(static_cast<size_t>(args.pipeline_size), of_rank / chunks);
}

std::vector<int64_t> uneven_counts(const PlacementArgs& args, int64_t chunks) {
  const int64_t first = args.first_layers.value_or(0), last = args.last_layers.value_or(0);
  CONCLAVE_USER_CHECK((!args.first_layers || first > 0) && (!args.last_layers || last > 0),
                      "--decoder-first/last-pipeline-num-layers must be above 0; got {} and {}; raise them", first,
                      last);
  CONCLAVE_USER_CHECK(!args.count_embedding && !args.count_loss,
                      "--decoder-first/last-pipeline-num-layers and --account-for-embedding/loss-in-pipeline-split "
                      "exclude each other; both are given; drop one kind");
  const int64_t ranks = args.pipeline_size - args.first_layers.has_value() - args.last_layers.has_value();
  const int64_t layers = args.num_layers - first - last;
  CONCLAVE_USER_CHECK(ranks >= 0 && layers >= 0 && (ranks == 0) == (layers == 0) && (ranks == 0 || layers % ranks == 0),
                      "layers left by --decoder-first/last-pipeline-num-layers must spread evenly over the ranks left; "
                      "got {} layers for "
                      "{} ranks; change the counts",
                      layers, ranks);
  const int64_t middle = ranks > 0 ? layers / ranks : 0;
  CONCLAVE_USER_CHECK(
      first % chunks == 0 && last % chunks == 0 && middle % chunks == 0,
      "with {} chunks on a rank the layers of each rank must be a multiple of that; got {} first, {} in "
      "the middle, {} last; change the counts",
      chunks, first, middle, last);
  std::vector<int64_t> counts(static_cast<size_t>(args.pipeline_size), middle / chunks);
  if (args.first_layers) counts.front() = first / chunks;
  if (args.last_layers) counts.back() = last / chunks;
  return counts;
}

LayerPlacement place_by_counts(const PlacementArgs& args, const std::vector<int64_t>& counts, int64_t chunks) {
  LayerPlacement placement;
  placement.virtual_size = chunks;
  int64_t next = 0;
  for (int64_t i = 0; i < chunks * args.pipeline_size; ++i) {
    StagePlacement stage;
    stage.pipeline_rank = i % args.pipeline_size;
    stage.chunk = i / args.pipeline_size;
    stage.embedding = i == 0;
    stage.loss = i == chunks * args.pipeline_size - 1;
    stage.first_layer = next;
    stage.layers = counts[static_cast<size_t>(stage.pipeline_rank)] - (stage.embedding && args.count_embedding) -
                   (stage.loss && args.count_loss);
    CONCLAVE_USER_CHECK(stage.layers >= 0, "a pipeline stage cannot hold {} layers; use fewer ranks or chunks",
                        stage.layers);
    next += stage.layers;
    if (stage.loss) {
      stage.mtp_layers.resize(static_cast<size_t>(args.mtp_num_layers));
      std::iota(stage.mtp_layers.begin(), stage.mtp_layers.end(), int64_t{0});
    }
    placement.stages.push_back(std::move(stage));
  }
  return placement;
}

}  // namespace

const StagePlacement& LayerPlacement::at(int64_t pipeline_rank, int64_t chunk) const {
  const int64_t ranks = static_cast<int64_t>(stages.size()) / virtual_size;
  return stages.at(static_cast<size_t>(chunk * ranks + pipeline_rank));
}

LayerPlacement place_layers(const PlacementArgs& args) {
  CONCLAVE_CHECK(args.pipeline_size >= 1 && args.num_layers >= 0, "{} ranks for {} layers", args.pipeline_size,
                 args.num_layers);
  if (args.layout) return place_by_layout(args);
  const int64_t chunks = args.virtual_size.value_or(1);
  CONCLAVE_USER_CHECK(chunks >= 1, "a pipeline rank must have at least one chunk; got {}; raise it", chunks);
  const bool uneven = args.first_layers || args.last_layers;
  return place_by_counts(args, uneven ? uneven_counts(args, chunks) : even_counts(args, chunks), chunks);
}

PlacementArgs placement_args(const Options& options) {
  const ParallelOptions& parallel = options.parallel;
  PlacementArgs args;
  args.num_layers = options.model.num_layers;
  args.mtp_num_layers = options.attention.mtp_num_layers;
  args.pipeline_size = parallel.pipeline_model_parallel_size;
  args.layout = parallel.pipeline_model_parallel_layout;
  if (!args.layout) args.virtual_size = virtual_pipeline_size(options);
  if (parallel.decoder_first_pipeline_num_layers > 0) args.first_layers = parallel.decoder_first_pipeline_num_layers;
  if (parallel.decoder_last_pipeline_num_layers > 0) args.last_layers = parallel.decoder_last_pipeline_num_layers;
  args.count_embedding = parallel.account_for_embedding_in_pipeline_split;
  args.count_loss = parallel.account_for_loss_in_pipeline_split;
  return args;
}

}  // namespace conclave

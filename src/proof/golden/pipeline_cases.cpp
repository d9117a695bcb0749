#include "proof/golden/pipeline_cases.h"

#include <optional>

#include "proof/golden/case_files.h"
#include "schedule/layer_placement.h"
#include "schedule/pipeline_order.h"

namespace conclave::proof {
namespace {

PipelineShape shape_of(const Json& golden) {
  PipelineShape shape;
  shape.pipeline_size = golden.at("pipeline_model_parallel_size").as_int();
  shape.virtual_size = int_or(golden, "virtual_pipeline_model_parallel_size", 1);
  shape.micro_batches = golden.at("num_microbatches").as_int();
  shape.group_size = int_or(golden, "microbatch_group_size_per_vp_stage", 0);
  shape.merged = flag_or(golden, "overlap_moe_expert_parallel_comm", false);
  if (flag_or(golden, "forward_only", false)) shape.work = PipelineWork::kForwardOnly;
  return shape;
}

// ["F", m, c], ["B", m, c] or ["FB", m, c, m, c] in the words of pipeline_text.
std::string text_of(const Json& action) {
  const std::string& kind = action.at(size_t{0}).as_string();
  std::string text = fmt::format("{}{}.{}", kind, action.at(1).as_int(), action.at(2).as_int());
  if (kind == "FB") text += fmt::format("/{}.{}", action.at(3).as_int(), action.at(4).as_int());
  return text;
}

std::vector<std::string> texts_of(const std::vector<ChunkStep>& steps) {
  std::vector<std::string> texts;
  for (const ChunkStep& step : steps) texts.push_back(fmt::format("[{}, {}]", step.micro_batch, step.chunk));
  return texts;
}

std::vector<std::string> texts_of(const std::vector<SyncCall>& calls) {
  std::vector<std::string> texts;
  for (const SyncCall& call : calls) texts.push_back(fmt::format("[{}, {}]", call.actions_done, call.chunk));
  return texts;
}

std::vector<std::string> pair_texts(const Json& pairs) {
  std::vector<std::string> texts;
  for (const Json& pair : pairs.as_array()) {
    texts.push_back(fmt::format("[{}, {}]", pair.at(size_t{0}).as_int(), pair.at(1).as_int()));
  }
  return texts;
}

}  // namespace

void check_order(const Json& golden, const std::string&) {
  const PipelineShape shape = shape_of(golden);
  const PipelineSync sync = flag_or(golden, "sync_funcs", false) ? PipelineSync::kByCalls : PipelineSync::kByBackward;
  if (must_be_refused(golden)) {
    pipeline_order(shape, 0, sync);
    return;
  }
  for (const Json& wanted : golden.at("ranks").as_array()) {
    const int64_t rank = wanted.at("pp_rank").as_int();
    const RankOrder order = pipeline_order(shape, rank, sync);
    const std::string what = fmt::format("rank {} ", rank);
    std::vector<std::string> actions, wanted_actions;
    for (const PipelineAction& action : order.actions) actions.push_back(pipeline_text({action}));
    for (const Json& action : wanted.at("order").as_array()) wanted_actions.push_back(text_of(action));
    expect_same(what + "order", actions, wanted_actions);
    expect_same(what + "grad_sync_backwards", texts_of(order.reducing_backwards),
                pair_texts(wanted.at("grad_sync_backwards")));
    if (const Json* calls = wanted.find("grad_sync_calls")) {
      expect_same(what + "grad_sync_calls", texts_of(order.gradient_calls), pair_texts(*calls));
    }
    if (const Json* calls = wanted.find("param_sync_calls")) {
      expect_same(what + "param_sync_calls", texts_of(order.parameter_calls), pair_texts(*calls));
    }
    if (const Json* warmup = wanted.find("num_warmup_microbatches")) {
      expect_equal(what + "num_warmup_microbatches", warmup_count(shape, rank).warmup, warmup->as_int());
    }
  }
}

void check_table(const Json& golden, const std::string&) {
  const auto steps = interleaved_table(golden.at("num_microbatches").as_int(), golden.at("num_model_chunks").as_int(),
                                       golden.at("microbatch_group_size_per_vp_stage").as_int());
  std::vector<int64_t> batches, chunks;
  for (const ChunkStep& step : steps) {
    batches.push_back(step.micro_batch);
    chunks.push_back(step.chunk);
  }
  expect_same("microbatch_id", batches, ints(golden.at("microbatch_id")));
  expect_same("model_chunk_id", chunks, ints(golden.at("model_chunk_id")));
}

void check_warmup(const Json& golden, const std::string&) {
  const PipelineShape shape = shape_of(golden);
  const Json& all = golden.at("are_all_microbatches_in_warmup");
  std::vector<int64_t> warmup, remaining;
  for (int64_t rank = 0; rank < shape.pipeline_size; ++rank) {
    const WarmupCount count = warmup_count(shape, rank);
    warmup.push_back(count.warmup);
    remaining.push_back(count.remaining);
    expect_equal("total_num_microbatches", count.total, golden.at("total_num_microbatches").as_int());
    expect_equal(fmt::format("are_all_microbatches_in_warmup[{}]", rank), count.remaining == 0,
                 all.at(static_cast<size_t>(rank)).as_bool());
  }
  expect_same("num_warmup_microbatches", warmup, ints(golden.at("num_warmup_microbatches")));
  expect_same("num_microbatches_remaining", remaining, ints(golden.at("num_microbatches_remaining")));
}

namespace {

std::optional<int64_t> maybe_int(const Json& golden, std::string_view key) {
  const Json* value = golden.find(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  return value->as_int();
}

PlacementArgs placement_args(const Json& golden) {
  PlacementArgs args;
  args.num_layers = golden.at("num_layers").as_int();
  args.mtp_num_layers = int_or(golden, "mtp_num_layers", 0);
  args.pipeline_size = golden.at("pipeline_model_parallel_size").as_int();
  args.first_layers = maybe_int(golden, "num_layers_in_first_pipeline_stage");
  args.last_layers = maybe_int(golden, "num_layers_in_last_pipeline_stage");
  args.count_embedding = flag_or(golden, "account_for_embedding_in_pipeline_split", false);
  args.count_loss = flag_or(golden, "account_for_loss_in_pipeline_split", false);
  return args;
}

std::vector<std::string> layer_words(const StagePlacement& stage) {
  std::vector<std::string> words;
  if (stage.embedding) words.push_back("embedding");
  words.insert(words.end(), static_cast<size_t>(stage.layers), "decoder");
  words.insert(words.end(), stage.mtp_layers.size(), "mtp");
  if (stage.loss) words.push_back("loss");
  return words;
}

// With one pipeline rank the cases have no offsets; there decoder_layer_ids alone tell the layers.
void expect_stage(const StagePlacement& stage, const Json& wanted, int64_t pipeline_size) {
  const std::string what = fmt::format("rank {} chunk {} ", stage.pipeline_rank, stage.chunk);
  expect_equal(what + "pp_rank", stage.pipeline_rank, wanted.at("pp_rank").as_int());
  expect_equal(what + "vp_stage", stage.chunk, wanted.at("vp_stage").as_int());
  expect_equal(what + "num_layers_to_build", stage.layers, wanted.at("num_layers_to_build").as_int());
  expect_equal(what + "layer_offset", pipeline_size == 1 ? 0 : stage.first_layer, wanted.at("layer_offset").as_int());
  if (const Json* layers = wanted.find("layers")) expect_same(what + "layers", layer_words(stage), strings(*layers));
  if (const Json* mtp = wanted.find("mtp_layer_ids")) expect_same(what + "mtp_layer_ids", stage.mtp_layers, ints(*mtp));
  if (const Json* ids = wanted.find("decoder_layer_ids")) {
    std::vector<int64_t> mine;
    for (int64_t i = 0; i < stage.layers; ++i) mine.push_back(stage.first_layer + i);
    expect_same(what + "decoder_layer_ids", mine, ints(*ids));
  }
}

}  // namespace

void check_layout_string(const Json& golden, const std::string&) {
  PlacementArgs args = placement_args(golden);
  args.layout = golden.at("pipeline_model_parallel_layout").as_string();
  args.virtual_size = maybe_int(golden, "virtual_pipeline_model_parallel_size_given");
  const LayerPlacement placement = place_layers(args);
  if (must_be_refused(golden)) return;
  const Json& stages = golden.at("stages");
  expect_equal("num_stages", static_cast<int64_t>(placement.stages.size()), golden.at("num_stages").as_int());
  expect_equal("stages", placement.stages.size(), stages.size());
  expect_equal("virtual_pipeline_model_parallel_size", placement.virtual_size,
               golden.at("virtual_pipeline_model_parallel_size").as_int());
  expect_equal("mtp_standalone", placement.mtp_before_last_rank, golden.at("mtp_standalone").as_bool());
  for (size_t i = 0; i < stages.size(); ++i) expect_stage(placement.stages[i], stages.at(i), args.pipeline_size);
}

void check_layer_split(const Json& golden, const std::string&) {
  PlacementArgs args = placement_args(golden);
  args.virtual_size = maybe_int(golden, "virtual_pipeline_model_parallel_size");
  const LayerPlacement placement = place_layers(args);
  if (must_be_refused(golden)) return;
  const Json& stages = golden.at("stages");
  expect_equal("stages", placement.stages.size(), stages.size());
  for (const Json& wanted : stages.as_array()) {
    expect_stage(placement.at(wanted.at("pp_rank").as_int(), wanted.at("vp_stage").as_int()), wanted,
                 args.pipeline_size);
  }
}

}  // namespace conclave::proof

#include "trainer/upcycling.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "base/error.h"
#include "base/log.h"
#include "checkpoint/writer.h"
#include "config/option_value.h"
#include "config/options_text.h"
#include "config/validate.h"
#include "convert/hf_checkpoint.h"
#include "trainer/hf_model.h"
#include "trainer/run_state.h"

namespace conclave {
namespace {

/// The dense model, wherever it comes from.
struct DenseModel {
  std::unique_ptr<CheckpointReader> checkpoint;
  std::unique_ptr<HuggingFaceWeights> weights;
  std::unique_ptr<TensorSource> source;
  Json options;  ///< all of them
  int64_t vocab = 0;
  std::string side_files;
};

DenseModel open_dense(const CheckpointOptions& options) {
  DenseModel dense;
  if (options.load) {
    const auto found = find_checkpoint(*options.load, options.ckpt_step);
    CONCLAVE_USER_CHECK(found.has_value(), "--load {}: there is no checkpoint of a dense model", *options.load);
    dense.checkpoint = std::make_unique<CheckpointReader>(found->directory);
    dense.source = tensor_source(*dense.checkpoint);
    const Json* saved = dense.checkpoint->state().find("options");
    CONCLAVE_USER_CHECK(saved != nullptr, "checkpoint '{}' holds no options", found->directory);
    dense.options = *saved;
    dense.vocab = dense.checkpoint->state().at("vocab_size").as_int();
    dense.side_files = (std::filesystem::path(found->directory).parent_path() / kHuggingFaceFolder).string();
  } else {
    CONCLAVE_USER_CHECK(options.load_hf.has_value(), "upcycling needs a dense model; add --load DIR or --load-hf DIR");
    dense.weights = std::make_unique<HuggingFaceWeights>(*options.load_hf);
    dense.source = tensor_source(*dense.weights);
    dense.options = imported_options(*dense.weights, *options.load_hf);
    dense.vocab = dense.weights->spec().vocab;
    dense.side_files = *options.load_hf;
  }
  return dense;
}

// Options of the new model: those of experts as given, the architecture beside them as it was.
Options new_options(ParsedOptions parsed, const DenseModel& dense) {
  Json rest = Json::object();
  for (const auto& [key, value] : dense.options.as_object()) {
    const FoundOption found = find_option(key);
    const bool expert_width = key == "ffn-hidden-size" && parsed.options.moe.moe_ffn_hidden_size == 0;
    if (found.row != nullptr && found.row->group != OptionGroup::kMoe) rest[key] = value;
    // As in Megatron-LM's scripts: --ffn-hidden-size there is the width of an expert.
    if (expert_width)
      parsed.options.moe.moe_ffn_hidden_size = value.as_int() / parsed.options.moe.moe_upcycling_granularity;
  }
  take_architecture(parsed, rest);
  const Options before = options_from_json(dense.options, "the dense model's options").options;
  for (const char* key : {"attention-dropout", "hidden-dropout", "init-method-std", "init-method-xavier-uniform"}) {
    if (!parsed.was_given(key)) copy_option(before, parsed.options, option_row(key));
  }
  parsed.options.moe.moe_use_upcycling = false;
  if (parsed.options.model.seq_length == 0) parsed.options.model.seq_length = dense.options.at("seq-length").as_int();
  return checked_options(parsed, Command::kUpcycle);
}

std::vector<float> logits_of(const Options& options, int64_t vocab, const std::function<void(Engine&)>& load) {
  const auto device = make_device("cpu");
  Options f32 = options;
  f32.precision.bf16 = false;
  Engine engine(f32, vocab, *device, false);
  load(engine);
  MicroBatch host = plain_batch(1, std::min<int64_t>(options.model.seq_length, 64), 0);
  std::mt19937 random(1);
  for (int32_t& token : host.tokens) token = static_cast<int32_t>(random() % static_cast<uint32_t>(vocab));
  return engine.logits(host);
}

void load_from(Engine& engine, const std::string& directory) {
  load_engine(engine, directory, false, engine.groups().world().all());
}

void compare(const DenseModel& dense, const Options& options, UpcyclingReport* report) {
  const auto load_dense = [&](Engine& engine) {
    dense.weights ? load_engine(engine, *dense.weights) : load_from(engine, dense.checkpoint->directory());
  };
  Options before = options_of_model(dense.options);
  before.model.seq_length = options.model.seq_length;
  const std::vector<float> want = logits_of(before, dense.vocab, load_dense);
  const std::vector<float> got =
      logits_of(options, dense.vocab, [&](Engine& engine) { load_from(engine, report->directory); });
  report->difference = report->largest = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(want[i]) - got[i]);
    report->difference = difference <= *report->difference ? *report->difference : difference;  // NaN stays
    report->largest = std::max(*report->largest, std::fabs(static_cast<double>(want[i])));
  }
}

}  // namespace

UpcyclingReport upcycle_model(ParsedOptions parsed) {
  const CheckpointOptions checkpoint = parsed.options.checkpoint;
  CONCLAVE_USER_CHECK(checkpoint.save.has_value(), "upcycling needs --save; it is not given; add --save DIR");
  CONCLAVE_USER_CHECK(!find_checkpoint(*checkpoint.save),
                      "--save '{}' holds a checkpoint already; to go on with it leave --moe-use-upcycling out and give "
                      "--load {}",
                      *checkpoint.save, *checkpoint.save);
  const DenseModel dense = open_dense(checkpoint);
  const int64_t granularity = parsed.options.moe.moe_upcycling_granularity;
  const bool split = parsed.options.moe.moe_upcycling_scaling == "split";
  const Options options = new_options(parsed, dense);
  UpcyclingRequest request;
  request.dense = make_model_spec(options_of_model(dense.options), dense.vocab);
  request.moe = make_model_spec(options, dense.vocab);
  request.granularity = granularity;
  request.split_scaling = split;
  request.seed = static_cast<uint64_t>(options.training.seed);
  UpcyclingReport report;
  report.plan = plan_upcycling(request);
  const auto device = make_device("cpu");
  const auto world = make_self_communicator("world");
  CheckpointWriter writer({.run_directory = *checkpoint.save}, *world, device->default_stream());
  Json state = Json::object();
  state["options"] = options_to_json(options);
  state["vocab_size"] = dense.vocab;
  writer.save(0, upcycled_tensors(*dense.source, request, report.plan), state);
  report.directory = writer.finish().at(0).directory;
  keep_side_files(dense.side_files, *checkpoint.save);
  const ParameterCount count = count_parameters(request.moe);
  report.billions = static_cast<double>(count.total) / 1e9;
  report.active_billions = static_cast<double>(count.active) / 1e9;
  constexpr int64_t kMostToCompare = 300'000'000;  // parameters: seconds, and little memory
  if (count.total <= kMostToCompare) compare(dense, options, &report);
  return report;
}

}  // namespace conclave

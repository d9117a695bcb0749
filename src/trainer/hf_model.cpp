#include "trainer/hf_model.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "config/options_text.h"
#include "convert/elements.h"
#include "convert/hf_export.h"
#include "convert/hf_tokenizer.h"
#include "trainer/run_state.h"

namespace conclave {

std::vector<std::string> take_hugging_face(ParsedOptions& parsed, const HuggingFaceWeights& weights) {
  Json model = weights.options();
  for (const auto& [key, value] : hugging_face_tokenizer_options(weights.directory().path())) model[key] = value;
  return take_model(parsed, model);
}

namespace {

// Reads one state tensor piece by piece; returns how many of its values are not finite.
int64_t load_state(const Stream& stream, const HuggingFaceWeights& weights, const StateTensor& state) {
  constexpr int64_t kAtOnce = int64_t{4} << 20;  // elements
  std::vector<float> values;
  int64_t bad = 0, done = 0;
  const auto put = [&](const ShardSpec& wanted) {
    values.resize(static_cast<size_t>(wanted.element_count()));
    weights.read(state.name, wanted, DType::kF32, std::as_writable_bytes(std::span(values)));
    bad += count_non_finite(DType::kF32, std::as_bytes(std::span(values)));
    copy_from_host<float>(stream, state.tensor.flat_slice(done, wanted.element_count()), values);
    done += wanted.element_count();
  };
  for (const Box& box : state.shard.boxes) {
    for (int64_t at = 0; at < box.element_count(); at += kAtOnce) {
      const int64_t count = std::min(kAtOnce, box.element_count() - at);
      put({state.shard.global_shape, boxes_of_flat_range(box, at, count)});
    }
  }
  return bad;
}

}  // namespace

void load_engine(Engine& engine, const HuggingFaceWeights& weights) {
  const Stream stream = engine.device().default_stream();
  std::map<std::string, const OwnTensor*> tensors;
  for (const OwnTensor& tensor : weights.tensors()) tensors[tensor.name] = &tensor;
  std::vector<std::string> bad;
  for (const StateTensor& state : engine.store().state()) {
    if (state.optimizer) continue;
    const auto found = tensors.find(state.name);
    CONCLAVE_CHECK(found != tensors.end() && found->second->shape == state.shard.global_shape,
                   "'{}' {} has no counterpart in a {}", state.name, Shape(state.shard.global_shape).to_string(),
                   weights.family().model_type);
    if (engine.device().is_sim()) continue;
    if (const int64_t count = load_state(stream, weights, state); count > 0)
      bad.push_back(fmt::format("{} ({})", state.name, count));
  }
  if (!bad.empty())
    log_warning("'{}' holds values that are NaN or infinite: {}", weights.directory().path(), join(bad, ", "));
  engine.store().weights_changed(stream);
}

void keep_side_files(const std::string& from, const std::string& run_directory) {
  const std::string folder = run_directory + "/" + kHuggingFaceFolder;
  if (!is_directory(from) || (is_directory(folder) && std::filesystem::equivalent(from, folder))) return;
  make_directories(folder);
  copy_side_files(from, folder);
}

void export_live_model(Engine& engine, Communicator& world, const LiveExport& request) {
  const std::string folder = request.run_directory + "/hf";
  const std::string live = fmt::format("{}/weights_of_{}.tmp", folder, request.iteration);
  const std::string target = folder + "/" + checkpoint_name(request.iteration);
  CheckpointWriter writer({.run_directory = live}, world, engine.device().default_stream());
  writer.save(request.iteration, checkpoint_tensors(engine, false), request.state);
  writer.finish();
  if (world.rank() != 0) return;
  ExportRequest out;
  out.output = target;
  out.max_shard_size = request.convert.max_shard_size;
  if (request.convert.fused_experts) out.form = ExpertForm::kFused;
  out.model_type = request.convert.hf_model_type;
  if (request.convert.hf_dtype) out.dtype = dtype_from_name(*request.convert.hf_dtype);
  if (const std::string side = request.run_directory + "/" + kHuggingFaceFolder; is_directory(side))
    out.side_files = side;
  remove_all(target);
  const ExportReport report =
      export_hugging_face(CheckpointReader(live + "/" + checkpoint_name(request.iteration)), out);
  remove_all(live);
  log_info("Hugging Face model of iteration {} ({}, {} files) in '{}'", request.iteration, report.model_type,
           report.files, target);
}

}  // namespace conclave

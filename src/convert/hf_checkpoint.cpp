#include "convert/hf_checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/log.h"
#include "config/options_text.h"
#include "convert/elements.h"
#include "convert/hf_tokenizer.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

std::vector<CheckpointTensor> streamed_tensors(const HuggingFaceWeights& weights,
                                               std::map<std::string, int64_t>* non_finite) {
  std::vector<CheckpointTensor> tensors;
  for (const OwnTensor& tensor : weights.tensors()) {
    const DType dtype = weights.stored_dtype(tensor.name);
    tensors.push_back(CheckpointTensor::from_source(
        tensor.name, dtype, ShardSpec::whole(tensor.shape),
        [&weights, non_finite, name = tensor.name, dtype](int64_t offset, std::span<std::byte> out) {
          weights.read(name, offset / dtype_size(dtype), dtype, out);
          if (const int64_t count = count_non_finite(dtype, out); count > 0) (*non_finite)[name] += count;
        }));
  }
  return tensors;
}

}  // namespace

Json imported_options(const HuggingFaceWeights& weights, const std::string& tokenizer_folder) {
  Json model = weights.options();
  for (const auto& [key, value] : hugging_face_tokenizer_options(tokenizer_folder)) model[key] = value;
  // The length that a model is used at where nobody says another one.
  constexpr int64_t kLongest = 4096;
  model["seq-length"] = std::min(model.at("max-position-embeddings").as_int(), kLongest);
  return options_to_json(options_of_model(model));
}

SaveReport import_hugging_face(const HuggingFaceWeights& weights, const std::string& output, Communicator& world,
                               const Stream& stream) {
  CONCLAVE_USER_CHECK(!file_exists(output) || is_directory(output), "--output '{}' is a file; give a directory",
                      output);
  CONCLAVE_USER_CHECK(!is_directory(output) || fs::is_empty(output),
                      "--output '{}' is there and not empty; give another directory or remove it", output);
  const std::string folder = output + "/" + kHuggingFaceFolder;
  try {
    CheckpointWriter writer({.run_directory = output}, world, stream);
    make_directories(folder);
    copy_side_files(weights.directory().path(), folder);
    Json state = Json::object();
    state["options"] = imported_options(weights, folder);
    state["vocab_size"] = weights.spec().vocab;
    state[kOriginKey] = origin_of(weights).to_json();
    std::map<std::string, int64_t> non_finite;
    writer.save(0, streamed_tensors(weights, &non_finite), state);
    for (const auto& [name, count] : non_finite)
      log_warning("'{}' holds {} values that are NaN or infinite", name, count);
    return writer.finish().at(0);
  } catch (...) {
    remove_all(output);
    throw;
  }
}

}  // namespace conclave

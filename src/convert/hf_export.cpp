#include "convert/hf_export.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/safetensors.h"
#include "base/streamed_file.h"
#include "base/text.h"
#include "config/options_text.h"
#include "config/resolve.h"
#include "convert/elements.h"
#include "convert/hf_tokenizer.h"
#include "spec/architecture.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kAtOnce = int64_t{2} << 20;  // elements

/// A tensor to be written.
struct OutTensor {
  const TensorPlace* place = nullptr;
  DType dtype = DType::kF32;
  int64_t bytes() const {
    int64_t count = dtype_size(dtype);
    for (const int64_t size : place->shape) count *= size;
    return count;
  }
};

class Export {
 public:
  Export(const CheckpointReader& checkpoint, const ExportRequest& request)
      : checkpoint_(checkpoint), request_(request), origin_(find_origin(checkpoint.state())) {
    const Json* saved = checkpoint.state().find("options");
    CONCLAVE_USER_CHECK(saved != nullptr, "checkpoint '{}' holds no options; it was not written by this program",
                        checkpoint.directory());
    options_ = resolved(options_from_json(*saved, "the checkpoint's options").options);
    vocab_ = checkpoint.state().at("vocab_size").as_int();
    spec_ = make_model_spec(options_, vocab_);
  }

  ExportReport run() {
    prepare_output();
    partial_ = fmt::format("{}.partial.{}", fs::path(request_.output).lexically_normal().string(), ::getpid());
    while (partial_.find("/.partial") != std::string::npos) partial_.erase(partial_.find("/.partial"), 1);
    remove_all(partial_);
    try {
      make_directories(partial_);
      write_config();
      plan();
      write_weights();
      write_side_files();
      verify();
      sync_directory(partial_);
      std::error_code ignored;
      fs::remove(request_.output, ignored);  // an empty one
      rename_durably(partial_, request_.output);
    } catch (...) {
      remove_all(partial_);
      throw;
    }
    return report_;
  }

 private:
  const CheckpointReader& checkpoint_;
  const ExportRequest& request_;
  std::optional<HuggingFaceOrigin> origin_;
  Options options_;
  int64_t vocab_ = 0;
  ModelSpec spec_;
  const Family* family_ = nullptr;
  std::string partial_;
  std::vector<TensorPlace> places_;
  std::vector<std::vector<OutTensor>> files_;
  ExportReport report_;

  void prepare_output() const {
    const std::string& output = request_.output;
    CONCLAVE_USER_CHECK(!file_exists(output) || is_directory(output), "--output '{}' is a file; give a directory",
                        output);
    CONCLAVE_USER_CHECK(!is_directory(output) || fs::is_empty(output),
                        "--output '{}' is there and not empty; give another directory or remove it", output);
  }

  const Family& chosen_family() const {
    if (request_.model_type) return *find_family(*request_.model_type);
    if (origin_) {
      const Family* family = find_family(origin_->model_type);
      CONCLAVE_USER_CHECK(family != nullptr, "the checkpoint came from a model of type '{}', which is not known",
                          origin_->model_type);
      return *family;
    }
    return family_for(options_, vocab_);
  }

  // The original text where it still describes the model; FP8 weights were dequantised.
  std::optional<Json> original_config() const {
    if (!origin_ || origin_->model_type != family_->model_type) return std::nullopt;
    Json config = Json::object(), known = Json::object();
    const Json parsed = Json::parse(origin_->config_text, "the original config.json");
    for (const auto& [key, value] : parsed.as_object()) {
      if (key != "quantization_config") config[key] = value;
    }
    HuggingFaceModel model = read_hugging_face_config(config, "the original config.json");
    if (spec_.predictions.empty()) model.options["mtp-num-layers"] = 0;
    const Options before = options_of_model(model.options);
    if (!architecture_difference(make_model_spec(before, before.model.vocab_size), spec_).empty()) return std::nullopt;
    if (request_.dtype) config[config.contains("dtype") ? "dtype" : "torch_dtype"] = dtype_word(*request_.dtype);
    return config;
  }

  static std::string dtype_word(DType dtype) {
    return dtype == DType::kF32 ? "float32" : dtype == DType::kF16 ? "float16" : "bfloat16";
  }

  DType main_dtype() const {
    if (request_.dtype) return *request_.dtype;
    if (origin_) return origin_->dtype;
    return options_.precision.bf16 ? DType::kBF16 : DType::kF32;
  }

  DType dtype_of(const TensorPlace& place) const {
    const bool buffer = place.ours.ends_with(".expert_bias");  // stays in f32 whatever the weights are
    if (request_.dtype && !buffer) return *request_.dtype;
    if (origin_ && origin_->other_dtypes.contains(place.name)) return origin_->other_dtypes.at(place.name);
    if (origin_) return origin_->dtype;
    return buffer ? DType::kF32 : main_dtype();
  }

  void write_config() {
    family_ = &chosen_family();
    report_.model_type = family_->model_type;
    const std::optional<Json> original = original_config();
    const std::string dtype = dtype_word(main_dtype());
    const Json config = original ? *original : write_hugging_face_config(options_, vocab_, *family_, dtype);
    const bool untouched =
        original && !request_.dtype && origin_->config_text.find("quantization_config") == std::string::npos;
    write_file_atomically(partial_ + "/config.json", untouched ? origin_->config_text : config.dump(2) + "\n");
  }

  void plan() {
    places_ = tensor_places(spec_, family_->names, request_.form.value_or(ExpertForm::kSeparate));
    // A table of tied embeddings is stored once, unless it came twice.
    std::erase_if(places_, [this](const TensorPlace& place) {
      return place.may_be_absent &&
             !(origin_ && std::count(origin_->repeated.begin(), origin_->repeated.end(), place.name));
    });
    std::vector<std::string> faults;
    for (const OwnTensor& tensor : own_tensors(places_, spec_)) {
      const StoredTensor* stored = checkpoint_.find(tensor.name);
      if (stored == nullptr) {
        faults.push_back(fmt::format("'{}' is missing", tensor.name));
      } else if (stored->shape != tensor.shape) {
        faults.push_back(fmt::format("'{}' is {}, the options say {}", tensor.name, Shape(stored->shape).to_string(),
                                     Shape(tensor.shape).to_string()));
      }
    }
    CONCLAVE_USER_CHECK(faults.empty(), "checkpoint '{}' does not fit its options:\n  {}", checkpoint_.directory(),
                        join(faults, "\n  "));
    int64_t filled = 0;
    for (const TensorPlace& place : places_) {
      const OutTensor tensor{&place, dtype_of(place)};
      if (files_.empty() || (filled > 0 && filled + tensor.bytes() > request_.max_shard_size)) {
        files_.emplace_back();
        filled = 0;
      }
      files_.back().push_back(tensor);
      filled += tensor.bytes();
      report_.bytes += tensor.bytes();
    }
    report_.tensors = static_cast<int64_t>(places_.size());
    report_.files = static_cast<int64_t>(files_.size());
    // Wide elements first: each tensor then begins at a multiple of its element size.
    for (std::vector<OutTensor>& file : files_)
      std::stable_sort(file.begin(), file.end(), [](const OutTensor& a, const OutTensor& b) {
        return dtype_size(a.dtype) > dtype_size(b.dtype);
      });
  }

  std::string file_name(size_t index) const {
    if (files_.size() == 1) return "model.safetensors";
    return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, files_.size());
  }

  // use(bytes) for the tensor in pieces, in order.
  template <typename Use>
  void stream(const OutTensor& tensor, Use use) const {
    const StoredTensor& stored = checkpoint_.at(tensor.place->ours);
    const Box whole = ShardSpec::whole(stored.shape).boxes.front();
    std::vector<std::byte> raw, out;
    for (const PlaceRun& run : tensor.place->runs) {
      for (int64_t done = 0; done < run.count; done += kAtOnce) {
        const int64_t count = std::min(kAtOnce, run.count - done);
        raw.resize(static_cast<size_t>(count * dtype_size(stored.dtype)));
        checkpoint_.read(stored.name, {stored.shape, boxes_of_flat_range(whole, run.ours + done, count)}, raw);
        if (tensor.dtype == stored.dtype) {
          use(std::span<const std::byte>(raw));
          continue;
        }
        out.resize(static_cast<size_t>(count * dtype_size(tensor.dtype)));
        convert_elements(stored.dtype, raw, tensor.dtype, out);
        use(std::span<const std::byte>(out));
      }
    }
  }

  void write_weights() {
    Json map = Json::object();
    auto& entries = const_cast<Json::Object&>(map.as_object());
    for (size_t f = 0; f < files_.size(); ++f) {
      std::vector<SafetensorsItem> items;
      for (const OutTensor& tensor : files_[f]) {
        items.push_back({tensor.place->name, tensor.dtype, tensor.place->shape});
        entries.emplace_back(tensor.place->name, file_name(f));
      }
      StreamedFile file(partial_ + "/" + file_name(f), StreamedFile::Check::kReadBack);
      file.write(safetensors_header(items, {{"format", "pt"}}));
      for (const OutTensor& tensor : files_[f])
        stream(tensor, [&](std::span<const std::byte> bytes) { file.write(bytes); });
      file.finish();
    }
    if (files_.size() == 1) return;
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    Json index = Json::object();
    index["metadata"]["total_size"] = report_.bytes;
    index["weight_map"] = std::move(map);
    write_file_atomically(partial_ + "/model.safetensors.index.json", index.dump(2) + "\n");
  }

  void write_side_files() const {
    const fs::path run = fs::path(checkpoint_.directory()).parent_path();
    const std::string folder = request_.side_files.value_or((run / kHuggingFaceFolder).string());
    if (is_directory(folder)) {
      copy_side_files(folder, partial_);
    } else if (options_.tokenizer.tokenizer_model) {
      const fs::path model = *options_.tokenizer.tokenizer_model;
      copy_side_files(is_directory(model.string()) ? model.string() : model.parent_path().string(), partial_);
    } else if (options_.tokenizer.tokenizer_type) {
      log_warning("a {} has no files that Transformers reads; the model goes without a tokenizer",
                  *options_.tokenizer.tokenizer_type);
    }
    if (file_exists(partial_ + "/generation_config.json")) return;
    const Json config = Json::parse(read_file(partial_ + "/config.json"), "config.json");
    Json generation = Json::object();
    generation["_from_model_config"] = true;
    for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
      if (const Json* value = config.find(key); value != nullptr && !value->is_null()) generation[key] = *value;
    }
    write_file_atomically(partial_ + "/generation_config.json", generation.dump(2) + "\n");
  }

  // Opens what was written as any import would; the bytes of each file were read back when it was finished.
  void verify() const {
    const HuggingFaceWeights back(partial_);
    for (const std::vector<OutTensor>& file : files_) {
      for (const OutTensor& tensor : file) {
        const StoredWeight* weight = back.directory().find(tensor.place->name);
        CONCLAVE_USER_CHECK(weight != nullptr && weight->dtype == tensor.dtype, "'{}' was not written as it should be",
                            tensor.place->name);
      }
    }
  }
};

}  // namespace

ExportReport export_hugging_face(const CheckpointReader& checkpoint, const ExportRequest& request) {
  return Export(checkpoint, request).run();
}

}  // namespace conclave

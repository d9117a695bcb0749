#include "convert/hf_directory.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/safetensors.h"
#include "base/text.h"
#include "convert/elements.h"

namespace conclave {
namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

// A name of a file beside the index: no folder, no way out.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name.find('\\') == std::string::npos &&
         name.find('\0') == std::string::npos && name != "." && name != "..";
}

bool can_be_weight(DType dtype) { return is_floating(dtype); }

// "[3, 2]".
std::string shape_words(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) sizes.push_back(std::to_string(size));
  return fmt::format("[{}]", join(sizes, ", "));
}

}  // namespace

int64_t StoredWeight::element_count() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

HuggingFaceDirectory::HuggingFaceDirectory(std::string path) : path_(std::move(path)) {
  CONCLAVE_USER_CHECK(is_directory(path_),
                      "'{}' is no directory; give the folder of a Hugging Face model, with config.json and safetensors",
                      path_);
  read_config();
  std::map<std::string, std::string> index;
  if (file_exists(path_ + "/" + kIndexFile)) {
    index = read_index(path_ + "/" + kIndexFile);
  } else {
    CONCLAVE_USER_CHECK(file_exists(path_ + "/" + kSingleFile),
                        "'{}' has neither {} nor {}; weights in other formats (.bin, .pt) are not read: save the model "
                        "as safetensors",
                        path_, kSingleFile, kIndexFile);
    files_ = {kSingleFile};
  }
  read_headers(index);
  read_quantization();
}

HuggingFaceDirectory::~HuggingFaceDirectory() = default;

void HuggingFaceDirectory::read_config() {
  const std::string file = path_ + "/config.json";
  CONCLAVE_USER_CHECK(file_exists(file), "'{}' has no config.json; is it the folder of a Hugging Face model?", path_);
  constexpr int64_t kMost = 16 << 20;
  CONCLAVE_USER_CHECK(file_size(file) <= kMost, "'{}' has {} bytes; a configuration has at most {}", file,
                      file_size(file), kMost);
  config_text_ = read_file(file);
  config_ = Json::parse(config_text_, file);
  CONCLAVE_USER_CHECK(config_.is_object(), "{}: a model's configuration is a JSON object", file);
}

std::map<std::string, std::string> HuggingFaceDirectory::read_index(const std::string& index_path) const {
  const Json root = Json::parse(read_file(index_path), index_path);
  const Json* map = root.find("weight_map");
  CONCLAVE_USER_CHECK(map != nullptr && map->is_object(), "'{}': \"weight_map\" is missing or no object", index_path);
  std::map<std::string, std::string> index;
  for (const auto& [name, file] : map->as_object()) {
    CONCLAVE_USER_CHECK(file.is_string() && is_plain_name(file.as_string()),
                        "'{}': tensor '{}' is said to be in {}; only files beside the index are read", index_path, name,
                        file.dump());
    CONCLAVE_USER_CHECK(index.emplace(name, file.as_string()).second, "'{}': tensor '{}' stands twice", index_path,
                        name);
  }
  CONCLAVE_USER_CHECK(!index.empty(), "'{}': \"weight_map\" is empty", index_path);
  return index;
}

void HuggingFaceDirectory::read_headers(const std::map<std::string, std::string>& index) {
  if (files_.empty()) {
    std::set<std::string> names;
    for (const auto& [tensor, file] : index) names.insert(file);
    files_.assign(names.begin(), names.end());
  }
  std::vector<std::string> faults;
  for (size_t f = 0; f < files_.size(); ++f) {
    const std::string file = path_ + "/" + files_[f];
    if (!std::filesystem::is_regular_file(file)) {
      faults.push_back(fmt::format("file '{}' is missing", files_[f]));
      open_.push_back(nullptr);
      continue;
    }
    const SafetensorsFile header(file);
    open_.push_back(std::make_unique<InputFile>(file));
    for (const SafetensorsEntry& entry : header.entries()) {
      const auto named = index.find(entry.name);
      if (!index.empty() && (named == index.end() || named->second != files_[f])) {
        faults.push_back(fmt::format("tensor '{}' in '{}' is not what the index says", entry.name, files_[f]));
        continue;
      }
      weights_[entry.name] = {entry.name, entry.dtype, entry.shape, f, entry.offset};
    }
  }
  for (const auto& [tensor, file] : index) {
    const auto at = std::find(files_.begin(), files_.end(), file);
    if (!weights_.contains(tensor) && open_[static_cast<size_t>(at - files_.begin())] != nullptr)
      faults.push_back(fmt::format("tensor '{}' is not in '{}', where the index says it is", tensor, file));
  }
  if (faults.size() > 20) faults.resize(20);
  CONCLAVE_USER_CHECK(faults.empty(), "'{}' is incomplete or damaged:\n  {}\ndownload it again", path_,
                      join(faults, "\n  "));
}

void HuggingFaceDirectory::read_quantization() {
  std::vector<std::string> faults;
  if (const Json* given = config_.find("quantization_config"); given != nullptr && !given->is_null()) {
    const Json* method = given->find("quant_method");
    const Json* block = given->find("weight_block_size");
    const bool fits = method != nullptr && method->is_string() && method->as_string() == "fp8" && block != nullptr &&
                      block->is_array() && block->size() == 2 && block->at(0).is_int() && block->at(1).is_int() &&
                      block->at(0).as_int() > 0 && block->at(1).as_int() > 0;
    CONCLAVE_USER_CHECK(fits,
                        "'{}': only weights in FP8 with block scales (quant_method fp8, weight_block_size) are read; "
                        "got quantization_config {}",
                        path_, given->dump());
    block_rows_ = block->at(0).as_int();
    block_columns_ = block->at(1).as_int();
  }
  for (const char* key : {"dtype", "torch_dtype"}) {
    const Json* word = config_.find(key);
    if (word != nullptr && word->is_string() && word->as_string() == "float32") dequantised_ = DType::kF32;
  }
  read_scales(&faults);
  for (const auto& [name, weight] : weights_) {
    if (!can_be_weight(weight.dtype))
      faults.push_back(
          fmt::format("tensor '{}' holds {}; a weight is a floating number", name, dtype_name(weight.dtype)));
    const bool small = dtype_size(weight.dtype) == 1;
    if (small && can_be_weight(weight.dtype) && !scales_.contains(name))
      faults.push_back(
          fmt::format("tensor '{}' is {} and has no '{}{}'", name, dtype_name(weight.dtype), name, kScaleSuffix));
  }
  if (faults.size() > 20) faults.resize(20);
  CONCLAVE_USER_CHECK(faults.empty(), "'{}' cannot be used:\n  {}", path_, join(faults, "\n  "));
}

void HuggingFaceDirectory::read_scales(std::vector<std::string>* faults) {
  for (const auto& [name, scale] : weights_) {
    if (!is_scale(name)) continue;
    const std::string of = name.substr(0, name.size() - kScaleSuffix.size());
    const StoredWeight* weight = find(of);
    if (weight == nullptr || dtype_size(weight->dtype) != 1 || weight->shape.size() != 2) {
      faults->push_back(fmt::format("'{}' scales no FP8 matrix '{}'", name, of));
      continue;
    }
    if (block_rows_ == 0) {
      faults->push_back(
          fmt::format("'{}' needs \"quantization_config\" with \"weight_block_size\" in config.json", name));
      continue;
    }
    const int64_t rows = ceil_div(weight->shape[0], block_rows_), columns = ceil_div(weight->shape[1], block_columns_);
    if (scale.shape != std::vector<int64_t>{rows, columns} || scale.dtype != DType::kF32) {
      faults->push_back(fmt::format("'{}' must be f32 [{}, {}]; it is {} {}", name, rows, columns,
                                    dtype_name(scale.dtype), shape_words(scale.shape)));
      continue;
    }
    Scales scales{std::vector<float>(static_cast<size_t>(rows * columns)), rows, columns};
    read(scale, 0, std::as_writable_bytes(std::span(scales.values)));
    scales_[of] = std::move(scales);
  }
}

const StoredWeight* HuggingFaceDirectory::find(std::string_view name) const {
  const auto found = weights_.find(name);
  return found == weights_.end() ? nullptr : &found->second;
}

void HuggingFaceDirectory::read(const StoredWeight& weight, int64_t begin, std::span<std::byte> out) const {
  open_[weight.file]->read_at(weight.offset + begin * dtype_size(weight.dtype), out);
}

void HuggingFaceDirectory::read_as(const StoredWeight& weight, int64_t begin, DType dtype,
                                   std::span<std::byte> out) const {
  if (dtype == weight.dtype) return read(weight, begin, out);
  constexpr int64_t kAtOnce = int64_t{1} << 20;  // elements
  const auto count = static_cast<int64_t>(out.size()) / dtype_size(dtype);
  std::vector<std::byte> raw;
  std::vector<float> values;
  for (int64_t done = 0; done < count; done += kAtOnce) {
    const int64_t now = std::min(kAtOnce, count - done);
    raw.resize(static_cast<size_t>(now * dtype_size(weight.dtype)));
    read(weight, begin + done, raw);
    const std::span<std::byte> target =
        out.subspan(static_cast<size_t>(done * dtype_size(dtype)), static_cast<size_t>(now * dtype_size(dtype)));
    if (!is_scaled(weight)) {
      convert_elements(weight.dtype, raw, dtype, target);
      continue;
    }
    values.resize(static_cast<size_t>(now));
    convert_elements(weight.dtype, raw, DType::kF32, std::as_writable_bytes(std::span(values)));
    multiply_by_scales(weight, begin + done, values);
    convert_elements(DType::kF32, std::as_bytes(std::span(values)), dtype, target);
  }
}

void HuggingFaceDirectory::multiply_by_scales(const StoredWeight& weight, int64_t begin,
                                              std::span<float> values) const {
  const Scales& scales = scales_.find(weight.name)->second;
  const int64_t columns = weight.shape[1];
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t at = begin + static_cast<int64_t>(i), row = at / columns, column = at % columns;
    values[i] *= scales.values[static_cast<size_t>(row / block_rows_ * scales.columns + column / block_columns_)];
  }
}

}  // namespace conclave

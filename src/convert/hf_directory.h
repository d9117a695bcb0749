// A Hugging Face model directory, read with suspicion: every file, header and name is checked before anything is used.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/file.h"
#include "base/json.h"

namespace conclave {

/// A tensor of the directory.
struct StoredWeight {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  size_t file = 0;     ///< index into files()
  int64_t offset = 0;  ///< in the file
  int64_t element_count() const;
};

class HuggingFaceDirectory {
 public:
  /// Reads config.json, the index if there is one, and the headers of all weight files. Throws UserError with what is
  /// missing, contradictory or damaged.
  explicit HuggingFaceDirectory(std::string path);
  ~HuggingFaceDirectory();

  const std::string& path() const { return path_; }
  const Json& config() const { return config_; }
  const std::string& config_text() const { return config_text_; }
  const std::vector<std::string>& files() const { return files_; }
  /// By name.
  const std::map<std::string, StoredWeight, std::less<>>& weights() const { return weights_; }
  const StoredWeight* find(std::string_view name) const;

  /// Elements [begin, begin + count) as they are stored.
  void read(const StoredWeight& weight, int64_t begin, std::span<std::byte> out) const;
  /// The same converted to `dtype`; FP8 weights are multiplied by their block scales.
  void read_as(const StoredWeight& weight, int64_t begin, DType dtype, std::span<std::byte> out) const;

  /// Whether the weight is FP8 with scales of its own in another tensor.
  bool is_scaled(const StoredWeight& weight) const { return scales_.contains(weight.name); }
  /// Tensors that only scale others.
  bool is_scale(std::string_view name) const { return name.ends_with(kScaleSuffix); }
  /// quantization_config says FP8 in blocks: then weights come out in this dtype.
  DType dequantised_dtype() const { return dequantised_; }

 private:
  static constexpr std::string_view kScaleSuffix = "_scale_inv";
  struct Scales {
    std::vector<float> values;  ///< [ceil(rows / block), ceil(columns / block)]
    int64_t rows = 0, columns = 0;
  };
  std::string path_, config_text_;
  Json config_;
  std::vector<std::string> files_;
  std::vector<std::unique_ptr<InputFile>> open_;
  std::map<std::string, StoredWeight, std::less<>> weights_;
  std::map<std::string, Scales, std::less<>> scales_;
  int64_t block_rows_ = 0, block_columns_ = 0;
  DType dequantised_ = DType::kBF16;

  void read_config();
  std::map<std::string, std::string> read_index(const std::string& index_path) const;
  void read_headers(const std::map<std::string, std::string>& index);
  void read_quantization();
  void read_scales(std::vector<std::string>* faults);
  void multiply_by_scales(const StoredWeight& weight, int64_t begin, std::span<float> values) const;
};

}  // namespace conclave

// A blend of data sets: sample i is taken from the data set that lags most behind its weight.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/index_cache.h"
#include "data/sample.h"

namespace conclave {

/// One data set of a blend.
struct BlendSource {
  std::shared_ptr<const SampleDataset> dataset;
  int64_t number = 0;  ///< in the configuration's list; becomes SampleOrigin::source
  int64_t start = 0;   ///< the blend takes its samples from this one on
};

struct BlendedDatasetSpec {
  std::vector<BlendSource> sources;
  /// Positive; normalised inside. Without weights each is used up exactly.
  std::optional<std::vector<double>> weights;
  /// Samples of the blend; of no meaning without weights.
  int64_t size = 0;
  /// Names the index file and what "beside the data" means.
  std::string label;
  std::string data_prefix;
};

class BlendedDataset : public SampleDataset {
 public:
  /// Throws UserError if a data set is empty, has no weight, or has fewer samples than the blend takes from it.
  BlendedDataset(BlendedDatasetSpec spec, const IndexCache& cache);
  int64_t size() const override { return size_; }
  void fetch(int64_t index, TokenSample& out) const override;

  /// Samples taken from each source by the first `count` samples of the blend.
  std::vector<int64_t> taken(int64_t count) const;
  const std::vector<BlendSource>& sources() const { return spec_.sources; }
  /// Arrays dataset_index i16 and dataset_sample_index i64, [size]; samples count from each source's start.
  const IndexFile& file() const { return *file_; }

 private:
  std::vector<int64_t> remaining() const;
  void check_supply() const;

  BlendedDatasetSpec spec_;
  int64_t size_ = 0;
  std::shared_ptr<const IndexFile> file_;
  std::span<const int16_t> dataset_;
  std::span<const int64_t> sample_;
};

}  // namespace conclave

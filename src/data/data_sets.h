// The training, validation and test data of a run, built from plain settings.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/blend.h"
#include "data/blended_dataset.h"
#include "data/data_position.h"
#include "data/gpt_dataset.h"
#include "data/index_cache.h"
#include "data/sampler.h"
#include "data/token_source.h"

namespace conclave {

/// Where the tokens come from and how they are cut into samples. Exactly one of data_path, the per-split paths and
/// mock.
struct DataConfig {
  Blend blend;                                 ///< --data-path, divided by `split`
  std::array<Blend, kSplits> blend_per_split;  ///< --train-data-path and so on
  bool mock = false;
  std::string split;       ///< empty: 969,30,1
  int64_t seq_length = 0;  ///< S
  int64_t seed = 1234;
  std::array<std::optional<int64_t>, kSplits> samples;  ///< wanted; none: one epoch (see sample_counts.h)
  double mid_level_dataset_surplus = 0.005;
  int64_t extra_token = 1;  ///< 0: samples of S tokens instead of S+1
  GptIndexSpec::LastSample last_validation_sample = GptIndexSpec::LastSample::kDrop;
  DataloaderType dataloader_type = DataloaderType::kSingle;  ///< of the training data
  int64_t vocab_size = 0;                                    ///< of mock data
  int64_t eod = 0;                                           ///< of mock data
  IndexCache cache;
};

/// The samples of one split.
struct SplitData {
  std::shared_ptr<const SampleDataset> samples;             ///< null: this split has no data
  std::vector<std::shared_ptr<const TokenSource>> sources;  ///< by SampleOrigin::source
  std::vector<std::shared_ptr<const GptDataset>> datasets;  ///< beside them
  std::vector<std::optional<int64_t>> requested;            ///< samples asked of each
  std::shared_ptr<const BlendedDataset> blended;            ///< null: a single data set
};

class DataSets {
 public:
  /// Opens and indexes everything. With `position` the training data go on where an earlier run left them. Throws
  /// UserError.
  explicit DataSets(const DataConfig& config, const std::optional<DataPosition>& position = std::nullopt);

  const SplitData& split(Split split) const { return splits_[static_cast<size_t>(split)]; }
  /// Ordinal in the run of training sample 0 of split(kTrain): more than 0 once the blend was changed.
  int64_t segment_start() const { return position_.segment_start; }
  /// The training position once the run has used `consumed_samples` samples.
  DataPosition position(int64_t consumed_samples) const;

 private:
  struct Request;
  void check_config() const;
  void resume(const DataPosition& saved);
  void build_split(Split split, const Blend& blend, std::optional<std::pair<double, double>> bounds, bool per_split);
  /// `place` of training data: what was used of it before, and is filled in.
  void add_source(SplitData& out, Request request, SourcePosition* place);
  std::shared_ptr<const GptDataset> build_dataset(const Request& request);
  void build_blend(Split split, const std::vector<double>* weights, std::optional<int64_t> size);
  std::shared_ptr<const TokenSource> open(const std::string& prefix);
  std::string blend_text() const;
  std::string order_text() const;

  DataConfig config_;
  std::map<std::string, std::shared_ptr<const TokenSource>> opened_;
  std::array<SplitData, kSplits> splits_;
  DataPosition position_;  ///< at the begin of this segment
};

}  // namespace conclave

// Which samples a data-parallel rank takes, micro-batch by micro-batch.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace conclave {

enum class DataloaderType {
  kSingle,  ///< in order, once; independent of how many ranks share the work
  kCyclic,  ///< each epoch in an order of its own; with sharding each rank keeps to its part, so the order depends on
            ///< DP
};
DataloaderType dataloader_type_from_name(std::string_view name);

struct SamplerSpec {
  DataloaderType type = DataloaderType::kSingle;
  int64_t total_samples = 0;
  int64_t consumed_samples = 0;  ///< by all ranks together
  int64_t micro_batch_size = 1;
  int64_t data_parallel_rank = 0;
  int64_t data_parallel_size = 1;
  bool drop_last = true;      ///< single: leave out a last slice that is not full
  bool data_sharding = true;  ///< cyclic: each rank has its own part of the data
};

/// Walks from `consumed_samples` to the end of the data (single) or of the epoch (cyclic).
/// A slice = the micro-batches of all ranks at one step: micro_batch_size * data_parallel_size samples, rank after
/// rank. The epoch's order is PyTorch's randperm seeded with the epoch number.
class Sampler {
 public:
  /// Throws UserError if no sample is left (single), or if a cyclic start is inside a slice.
  explicit Sampler(const SamplerSpec& spec);
  /// Overwrites `batch` with this rank's samples of the next slice; false at the end. A rank may get fewer, or none, of
  /// a last slice that is not full.
  bool next(std::vector<int64_t>& batch);
  /// Samples taken by all ranks so far, those before the start included.
  int64_t consumed() const { return consumed_; }

 private:
  bool next_single(std::vector<int64_t>& batch);
  bool next_cyclic(std::vector<int64_t>& batch);

  SamplerSpec spec_;
  int64_t slice_ = 0;
  int64_t consumed_ = 0;
  std::vector<uint32_t> order_;  ///< cyclic: permutation of the epoch
  int64_t at_ = 0;               ///< next position in order_
  int64_t stride_ = 1;
  int64_t first_sample_ = 0;
};

}  // namespace conclave

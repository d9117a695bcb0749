// What the trainer takes: micro-batches of host arrays, made ahead by a few threads, in an order that does not depend
// on them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/data_position.h"
#include "data/data_sets.h"
#include "data/sample.h"

namespace conclave {

/// One micro-batch of one data-parallel rank. Arrays are row-major.
struct MicroBatch {
  int64_t batch = 0;                  ///< B; less than asked (even 0) only in a last slice that is not full
  int64_t seq_length = 0;             ///< S
  std::vector<int32_t> tokens;        ///< [B, S]
  std::vector<int32_t> labels;        ///< [B, S]
  std::vector<float> loss_mask;       ///< [B, S], 0 or 1
  std::vector<int32_t> position_ids;  ///< [B, S]
  /// [B][documents+1]: 0, ends of documents, S. Empty where attention may cross documents.
  std::vector<std::vector<int32_t>> cu_seqlens;
  std::vector<int64_t> ordinals;      ///< [B] number of each sample in the run (training) or in the split
  std::vector<SampleOrigin> origins;  ///< [B]
};

/// Which micro-batches a stream gives.
struct StreamSpec {
  int64_t micro_batch_size = 1;
  int64_t data_parallel_rank = 0;
  int64_t data_parallel_size = 1;
  int64_t consumed_samples = 0;  ///< by all ranks: of the run (training), of the split (validation, test)
  bool drop_last = true;         ///< leave out a last slice that is not full
  bool data_sharding = true;     ///< cyclic: each rank has its own part of the data
  int64_t workers = 2;           ///< threads that make micro-batches ahead; 0: made when asked for
};

/// Micro-batches one after the other. One thread calls next(); the stream has threads of its own. The BatchSource that
/// made it must outlive it.
class BatchStream {
 public:
  ~BatchStream();
  BatchStream(const BatchStream&) = delete;
  BatchStream& operator=(const BatchStream&) = delete;

  /// Nothing at the end of the data (never, if cyclic). Throws UserError, at the micro-batch concerned and from then
  /// on, if data have vanished, changed, or hold tokens outside the vocabulary.
  std::optional<MicroBatch> next();
  /// Samples used by all ranks once the micro-batches given out so far are done, in the count of
  /// StreamSpec::consumed_samples.
  int64_t consumed_samples() const;

 private:
  friend class BatchSource;
  struct State;
  explicit BatchStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Data sets, fields and vocabulary of a run.
struct BatchConfig {
  DataConfig data;
  FieldOptions fields;     ///< seq_length is taken from `data`
  int64_t vocab_size = 0;  ///< tokens must be below; 0: not checked
};

class BatchSource {
 public:
  /// Opens and indexes all data. `position` comes from the checkpoint that is resumed. Throws UserError.
  explicit BatchSource(const BatchConfig& config, const std::optional<DataPosition>& position = std::nullopt);

  const DataSets& data() const { return data_; }
  bool has(Split split) const { return data_.split(split).samples != nullptr; }
  /// Samples of the split; of training data, those of the run up to where they end (cyclic: of one epoch).
  int64_t size(Split split) const;
  /// Throws UserError if the split has no data or none is left.
  std::unique_ptr<BatchStream> stream(Split split, const StreamSpec& spec) const;
  DataPosition position(int64_t consumed_samples) const { return data_.position(consumed_samples); }
  /// {"source", "path", "sample", "parts": [{"document", "offset", "tokens"}]}; document = sequence of the file.
  Json describe(Split split, const SampleOrigin& origin) const;

 private:
  BatchConfig config_;
  DataSets data_;
};

}  // namespace conclave

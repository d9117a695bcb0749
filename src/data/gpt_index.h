// The order of samples of one data set and split: Megatron's document, sample and shuffle index.
//
// The documents (sequences of the file) of the split are repeated for as many epochs as are needed, shuffled, and laid
// end to end; sample i covers S+1 tokens from i*S on, so neighbours share one token; the samples are shuffled in turn.
// If less than 80 % of the last epoch is needed, it is shuffled apart from the earlier ones, so that no part of it is
// over-seen.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "data/index_cache.h"
#include "data/token_source.h"

namespace conclave {

struct GptIndexSpec {
  enum class LastSample { kDrop, kPad };

  int64_t first = 0;                   ///< first sequence of the split
  int64_t past_last = 0;               ///< one past the last
  int64_t seq_length = 0;              ///< S
  int64_t seed = 0;                    ///< of the shuffles, 0 <= seed < 2^32
  std::optional<int64_t> num_samples;  ///< samples wanted; none: one epoch
  int64_t extra_token = 1;             ///< 1: a sample has S+1 tokens, 0: S
  LastSample last = LastSample::kDrop;
};

/// What follows from the spec and the lengths.
struct GptIndexFacts {
  int64_t tokens_per_epoch = 0;
  int64_t epochs = 0;
  bool separate_final_epoch = false;
  int64_t samples = 0;
  int64_t samples_sans_final_epoch = 0;  ///< of use only if separate_final_epoch

  Json to_json() const;
  static GptIndexFacts from_json(const Json& json);
};

/// Throws UserError if the split cannot give what is wanted.
GptIndexFacts gpt_index_facts(const TokenSource& source, const GptIndexSpec& spec);

/// Where a sample begins: `position` in the document index and token `offset` in that document.
struct SampleStart {
  int64_t position = 0;
  int64_t offset = 0;
};

/// Immutable view of an index that is built or mapped.
class GptIndex {
 public:
  /// `label` names the cache file, e.g. "gpt-train".
  GptIndex(const TokenSource& source, const GptIndexSpec& spec, const IndexCache& cache, const std::string& label);

  const GptIndexFacts& facts() const { return facts_; }
  const GptIndexSpec& spec() const { return spec_; }
  int64_t size() const { return facts_.samples; }
  int64_t document_count() const { return static_cast<int64_t>(documents_.size()); }
  /// Sequence at a position of the document index. A value outside the split (damaged cache) throws UserError.
  int64_t document(int64_t position) const;
  /// Begin of unshuffled sample i, 0 <= i <= size(); sample i ends at begin i+1.
  SampleStart start(int64_t i) const;
  /// Unshuffled number of the i-th sample.
  int64_t shuffled(int64_t i) const;

  /// Arrays document_index i32 [documents*epochs], sample_index i32 or i64 [samples+1, 2], shuffle_index u32 or i64
  /// [samples].
  const IndexFile& file() const { return *file_; }

 private:
  [[noreturn]] void damaged(std::string_view what, int64_t value) const;

  GptIndexSpec spec_;
  GptIndexFacts facts_;
  std::shared_ptr<const IndexFile> file_;
  std::span<const int32_t> documents_;
  std::span<const int32_t> starts32_;
  std::span<const int64_t> starts64_;
  std::span<const uint32_t> shuffle32_;
  std::span<const int64_t> shuffle64_;
};

}  // namespace conclave

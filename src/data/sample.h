// One training sample: its tokens, where they came from, and the fields that a training step takes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace conclave {

/// Stands in TokenSample::text where a sample is longer than its data.
inline constexpr int32_t kNoToken = -1;

/// A run of tokens of one sequence (document) of a data set.
struct SamplePart {
  int64_t sequence = 0;
  int64_t offset = 0;
  int64_t count = 0;
};

/// Where a sample came from.
struct SampleOrigin {
  int64_t source = 0;             ///< number of the data set in the blend
  int64_t sample = 0;             ///< number of the sample in that data set
  std::vector<SamplePart> parts;  ///< in order
};

struct TokenSample {
  std::vector<int32_t> text;  ///< [S+1], or [S] without the extra token; kNoToken where there is none
  SampleOrigin origin;
};

/// Numbered samples. Immutable; const members may be called from many threads at once.
class SampleDataset {
 public:
  virtual ~SampleDataset() = default;
  virtual int64_t size() const = 0;
  /// Overwrites `out`. Throws UserError if the data have vanished or changed.
  virtual void fetch(int64_t index, TokenSample& out) const = 0;
};

/// Which fields are made and how.
struct FieldOptions {
  int64_t seq_length = 0;               ///< S
  int64_t eod = 0;                      ///< ends a document
  std::optional<int64_t> pad;           ///< a label that counts for nothing; not applied if it equals eod
  bool eod_mask_loss = false;           ///< no loss where the input token is eod
  bool reset_position_ids = false;      ///< positions start again after each eod
  bool reset_attention_mask = false;    ///< no attention across eod
  bool inter_document_masking = false;  ///< both resets
};

/// Destinations of the fields, each [S].
struct SampleFields {
  std::span<int32_t> tokens;
  std::span<int32_t> labels;
  std::span<float> loss_mask;  ///< 0 or 1
  std::span<int32_t> position_ids;
};

/// Fills `out` from `text` ([S+1], or [S]: then the last label is padding). Pad tokens become 0 and their loss is
/// masked. Returns cu_seqlens [documents+1]: 0, one past each eod, S; just {0, S} if attention may cross documents.
std::vector<int32_t> make_fields(std::span<const int32_t> text, const FieldOptions& options, const SampleFields& out);

}  // namespace conclave

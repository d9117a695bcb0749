#include "trainer/batch_upload.h"

#include <algorithm>
#include <numeric>

#include "trainer/prediction_targets.h"

namespace conclave {
namespace {

constexpr MemoryTag kTag{MemoryCategory::kActivations, "batch"};

// [B,S]: where the document of each token begins.
std::vector<int32_t> document_starts(const MicroBatch& batch) {
  std::vector<int32_t> starts;
  for (const std::vector<int32_t>& ends : batch.cu_seqlens) {
    for (size_t d = 0; d + 1 < ends.size(); ++d)
      starts.insert(starts.end(), static_cast<size_t>(ends[d + 1] - ends[d]), ends[d]);
  }
  return starts;
}

// Kernels of a GPU cannot say what is wrong with an id, and the values are here anyway.
void check_tokens(const MicroBatch& batch, int64_t vocabulary) {
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    CONCLAVE_USER_CHECK(batch.tokens[i] >= 0 && batch.tokens[i] < vocabulary,
                        "token id {} in sequence {}, position {}, but the vocabulary has ids 0 to {}; check that the "
                        "data was made with this model's tokenizer",
                        batch.tokens[i], static_cast<int64_t>(i) / batch.seq_length,
                        static_cast<int64_t>(i) % batch.seq_length, vocabulary - 1);
  }
}

}  // namespace

double valid_tokens(const MicroBatch& batch) {
  double sum = 0;
  for (const float value : batch.loss_mask) sum += value;
  return sum;
}

MicroBatch plain_batch(int64_t batch, int64_t seq_length, int64_t first_ordinal) {
  MicroBatch out;
  out.batch = batch;
  out.seq_length = seq_length;
  const auto count = static_cast<size_t>(batch * seq_length);
  out.tokens.assign(count, 0);
  out.labels.assign(count, 0);
  out.loss_mask.assign(count, 1.0f);
  out.position_ids.resize(count);
  for (size_t i = 0; i < count; ++i) out.position_ids[i] = static_cast<int32_t>(static_cast<int64_t>(i) % seq_length);
  out.ordinals.resize(static_cast<size_t>(batch));
  std::iota(out.ordinals.begin(), out.ordinals.end(), first_ordinal);
  return out;
}

std::vector<SequencePiece> sequence_pieces(int64_t sequence, const Slice& context) {
  if (context.is_whole()) return {{0, sequence, 0}};
  CONCLAVE_CHECK(sequence % (2 * context.size) == 0, "{} positions over {} ranks of CP", sequence, context.size);
  const int64_t chunk = sequence / (2 * context.size);
  return {{0, chunk, context.rank * chunk}, {chunk, chunk, (2 * context.size - 1 - context.rank) * chunk}};
}

BatchUploader::BatchUploader(Device& device, const ModelSpec& spec, const ModelPart& part, bool per_token_loss)
    : device_(device), spec_(spec), context_(part.context), per_token_loss_(per_token_loss) {}

// This rank's positions of [B,S] as [B,S'].
template <typename T>
std::vector<T> BatchUploader::columns(const MicroBatch& batch, const std::vector<T>& whole) const {
  if (context_.is_whole()) return whole;
  std::vector<T> out;
  out.reserve(whole.size() / static_cast<size_t>(context_.size));
  for (int64_t b = 0; b < batch.batch; ++b) {
    for (const SequencePiece& piece : sequence_pieces(batch.seq_length, context_)) {
      const auto begin = whole.begin() + b * batch.seq_length + piece.position;
      out.insert(out.end(), begin, begin + piece.size);
    }
  }
  return out;
}

Tensor BatchUploader::fields(const MicroBatch& batch, const std::vector<int32_t>& whole) const {
  return from_host<int32_t>(device_, {batch.batch, context_.share(batch.seq_length)}, columns(batch, whole), kTag);
}

LossTargets BatchUploader::targets(const MicroBatch& batch, const std::vector<int32_t>& labels,
                                   const std::vector<float>& mask, double weight) const {
  const std::vector<int32_t> own_labels = columns(batch, labels);
  const std::vector<float> own_mask = columns(batch, mask);
  // Rows of the output product are token-major: t = s*B + b.
  const int64_t sequence = context_.share(batch.seq_length), count = batch.batch;
  const auto total = static_cast<size_t>(count * sequence);
  std::vector<int32_t> label_rows(total);
  std::vector<float> mask_rows(total), weights(total);
  for (int64_t b = 0; b < count; ++b) {
    for (int64_t s = 0; s < sequence; ++s) {
      const auto from = static_cast<size_t>(b * sequence + s), to = static_cast<size_t>(s * count + b);
      label_rows[to] = own_labels[from];
      mask_rows[to] = own_mask[from];
      weights[to] = static_cast<float>(static_cast<double>(own_mask[from]) * weight);
    }
  }
  return {from_host<int32_t>(device_, {count * sequence}, label_rows, kTag),
          from_host<float>(device_, {count * sequence}, mask_rows, kTag),
          from_host<float>(device_, {count * sequence}, weights, kTag)};
}

DeviceBatch BatchUploader::upload(const MicroBatch& batch, double row_weight) const {
  if (device_.kind() == DeviceKind::kCuda) check_tokens(batch, spec_.vocab);
  DeviceBatch out;
  out.info.sequence_length = context_.share(batch.seq_length);
  out.info.batch = batch.batch;
  out.info.ordinals.assign(batch.ordinals.begin(), batch.ordinals.end());
  if (!context_.is_whole()) out.info.pieces = sequence_pieces(batch.seq_length, context_);
  out.tokens = fields(batch, batch.tokens);
  out.info.positions = fields(batch, batch.position_ids);
  if (!batch.cu_seqlens.empty())
    out.info.document_starts =
        from_host<int32_t>(device_, {batch.batch, batch.seq_length}, document_starts(batch), kTag);
  out.targets = targets(batch, batch.labels, batch.loss_mask, row_weight);
  return out;
}

DeviceBatch BatchUploader::upload_for_step(const MicroBatch& batch, int64_t micro_batches) const {
  const double valid = std::max(valid_tokens(batch), 1.0), count = static_cast<double>(micro_batches);
  DeviceBatch out = upload(batch, per_token_loss_ ? 1.0 : 1.0 / (valid * count));
  const auto depths = static_cast<int64_t>(spec_.predictions.size());
  const double factor = spec_.prediction_loss_factor / static_cast<double>(std::max<int64_t>(depths, 1));
  for (ShiftedFields& shifted : shifted_fields(batch, depths)) {
    out.info.shifted_tokens.push_back(fields(batch, shifted.tokens));
    const double further = std::max(shifted.valid, 1.0);
    const double weight = per_token_loss_ ? factor * valid_tokens(batch) / further : factor / (further * count);
    // Under this mask the sum of losses is their mean, which is what the log averages over micro-batches.
    std::vector<float> mean_mask = shifted.mask;
    for (float& value : mean_mask) value = static_cast<float>(value / further);
    out.further_targets.push_back(targets(batch, shifted.labels, mean_mask, weight * further));
  }
  return out;
}

}  // namespace conclave

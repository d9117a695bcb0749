#include "trainer/prediction_targets.h"

namespace conclave {
namespace {

// One step to the left within [begin, end), in place.
template <typename T>
void shift(std::vector<T>& values, size_t begin, size_t end) {
  if (begin == end) return;
  for (size_t i = begin; i + 1 < end; ++i) values[i] = values[i + 1];
  values[end - 1] = T{0};
}

void shift_all(ShiftedFields& fields, size_t begin, size_t end) {
  shift(fields.tokens, begin, end);
  shift(fields.labels, begin, end);
  shift(fields.mask, begin, end);
}

}  // namespace

std::vector<ShiftedFields> shifted_fields(const MicroBatch& batch, int64_t depths) {
  std::vector<ShiftedFields> out;
  ShiftedFields fields{batch.tokens, batch.labels, batch.loss_mask, 0};
  const auto length = static_cast<size_t>(batch.seq_length);
  for (int64_t depth = 0; depth < depths; ++depth) {
    for (size_t b = 0; b < static_cast<size_t>(batch.batch); ++b) {
      const size_t first = b * length;
      if (batch.cu_seqlens.empty()) {
        shift_all(fields, first, first + length);
        continue;
      }
      const std::vector<int32_t>& ends = batch.cu_seqlens[b];
      for (size_t d = 0; d + 1 < ends.size(); ++d)
        shift_all(fields, first + static_cast<size_t>(ends[d]), first + static_cast<size_t>(ends[d + 1]));
    }
    fields.valid = 0;
    for (const float value : fields.mask) fields.valid += value;
    out.push_back(fields);
  }
  return out;
}

}  // namespace conclave

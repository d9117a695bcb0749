#include "data/sample.h"

#include <algorithm>

#include "base/error.h"

namespace conclave {

std::vector<int32_t> make_fields(std::span<const int32_t> text, const FieldOptions& options, const SampleFields& out) {
  const size_t count = static_cast<size_t>(options.seq_length);
  CONCLAVE_CHECK(text.size() == count || text.size() == count + 1, "{} tokens for a sample of {}", text.size(), count);
  std::copy_n(text.begin(), count, out.tokens.begin());
  std::copy_n(text.begin() + 1, text.size() - 1, out.labels.begin());
  if (text.size() == count) out.labels[count - 1] = kNoToken;

  const bool reset_positions = options.reset_position_ids || options.inter_document_masking;
  const bool cut_attention = options.reset_attention_mask || options.inter_document_masking;
  std::vector<int32_t> cu_seqlens = {0};
  int32_t position = 0;
  for (size_t i = 0; i < count; ++i) {
    const bool is_eod = out.tokens[i] == options.eod;
    out.position_ids[i] = position++;
    out.loss_mask[i] = options.eod_mask_loss && is_eod ? 0.0f : 1.0f;
    if (!is_eod) continue;
    if (reset_positions) position = 0;
    if (cut_attention) cu_seqlens.push_back(static_cast<int32_t>(i + 1));
  }
  if (cu_seqlens.back() != static_cast<int32_t>(count)) cu_seqlens.push_back(static_cast<int32_t>(count));

  const int64_t pad = options.pad && *options.pad != options.eod ? *options.pad : kNoToken;
  const auto is_pad = [pad](int32_t token) { return token == pad || token == kNoToken; };
  for (size_t i = 0; i < count; ++i) {
    if (is_pad(out.labels[i])) out.loss_mask[i] = 0.0f;
    if (is_pad(out.labels[i])) out.labels[i] = 0;
    if (is_pad(out.tokens[i])) out.tokens[i] = 0;
  }
  return cu_seqlens;
}

}  // namespace conclave

#include "data/gpt_dataset.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace conclave {

GptDataset::GptDataset(std::shared_ptr<const TokenSource> source, std::vector<GptIndex> indices)
    : source_(std::move(source)), indices_(std::move(indices)) {
  for (const GptIndex& index : indices_) size_ += index.size();
}

void GptDataset::fetch(int64_t index, TokenSample& out) const {
  CONCLAVE_CHECK(index >= 0 && index < size_, "sample {} of {}", index, size_);
  int64_t within = index;
  size_t which = 0;
  for (; within >= indices_[which].size(); ++which) within -= indices_[which].size();
  const GptIndex& order = indices_[which];
  const GptIndexSpec& spec = order.spec();
  const int64_t sample = order.shuffled(within);
  const SampleStart begin = order.start(sample), end = order.start(sample + 1);

  const int64_t total = spec.seq_length + spec.extra_token;
  out.text.assign(static_cast<size_t>(total), kNoToken);
  out.origin.source = 0;
  out.origin.sample = index;
  out.origin.parts.clear();
  source_->check_alive();
  const LengthView lengths = source_->lengths();
  int64_t filled = 0;
  for (int64_t position = begin.position; position <= end.position; ++position) {
    const int64_t document = order.document(position);
    const int64_t offset = position == begin.position ? begin.offset : 0;
    const int64_t past = position == end.position ? end.offset + spec.extra_token : int64_t{lengths[document]};
    const int64_t count = past - offset;
    CONCLAVE_USER_CHECK(count >= 0 && count <= total - filled,
                        "the index cache '{}' does not fit '{}': sample {} takes {} tokens of document {}; remove it, "
                        "it will be made anew",
                        order.file().path(), source_->name(), index, count, document);
    if (count == 0) continue;
    source_->read(document, offset,
                  std::span(out.text).subspan(static_cast<size_t>(filled), static_cast<size_t>(count)));
    out.origin.parts.push_back({document, offset, count});
    filled += count;
  }
  CONCLAVE_USER_CHECK(filled == total || spec.last == GptIndexSpec::LastSample::kPad,
                      "the index cache '{}' does not fit '{}': sample {} has {} of {} tokens; remove it, it will be "
                      "made anew",
                      order.file().path(), source_->name(), index, filled, total);
}

}  // namespace conclave

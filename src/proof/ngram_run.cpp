#include "proof/ngram_run.h"

#include "base/error.h"
#include "data/blend.h"
#include "data/indexed_dataset.h"
#include "proof/ngram.h"

namespace conclave::proof {
namespace {

using Stream = std::vector<int32_t>;

// The documents of [begin, end) one after the other, as training lays them.
Stream read_stream(const IndexedDataset& data, std::pair<int64_t, int64_t> range) {
  Stream out;
  for (int64_t i = range.first; i < range.second; ++i) {
    const std::vector<int32_t> document = data.read_sequence(i);
    out.insert(out.end(), document.begin(), document.end());
  }
  return out;
}

// By split, one stream for each data set that has something for it.
std::array<std::vector<Stream>, kSplits> read_splits(const DataOptions& options) {
  std::array<std::vector<Stream>, kSplits> streams;
  const std::array<std::vector<std::string>, kSplits> per_split = {options.train_data_path, options.valid_data_path,
                                                                   options.test_data_path};
  for (size_t s = 0; s < per_split.size(); ++s) {
    if (per_split[s].empty()) continue;
    for (const std::string& prefix : parse_data_path(per_split[s]).prefixes) {
      const IndexedDataset data(prefix);
      streams[s].push_back(read_stream(data, {0, data.sequence_count()}));
    }
  }
  if (options.data_path.empty()) return streams;
  const SplitBounds bounds = split_bounds(parse_split(options.split.value_or(std::string(kDefaultSplit))));
  for (const std::string& prefix : parse_data_path(options.data_path).prefixes) {
    const IndexedDataset data(prefix);
    for (size_t s = 0; s < streams.size(); ++s) {
      if (bounds[s]) streams[s].push_back(read_stream(data, split_range(*bounds[s], data.sequence_count())));
    }
  }
  return streams;
}

}  // namespace

NgramReport measure_ngram(const NgramRequest& request) {
  const auto streams = read_splits(request.data);
  NgramModel model(request.vocab_size, request.order);
  for (const Stream& stream : streams[0]) model.count(stream);
  model.finish();
  NgramReport report{model.counted_tokens(), {}};
  for (size_t s = 0; s < streams.size(); ++s) {
    double sum = 0;
    int64_t tokens = 0;
    for (const Stream& stream : streams[s]) {
      sum += model.loss_sum(stream);
      tokens += static_cast<int64_t>(stream.size());
    }
    if (tokens == 0) continue;
    report.splits.push_back(
        {std::string(split_name(static_cast<Split>(s))), tokens, sum / static_cast<double>(tokens)});
  }
  return report;
}

}  // namespace conclave::proof

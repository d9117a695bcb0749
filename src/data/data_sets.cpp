#include "data/data_sets.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "data/indexed_dataset.h"
#include "data/mock_tokens.h"

namespace conclave {

/// What is asked of one data set.
struct DataSets::Request {
  Split split = Split::kTrain;
  std::shared_ptr<const TokenSource> source;
  std::pair<int64_t, int64_t> sequences;
  std::optional<int64_t> need;                    ///< samples from the first of its order on; none: one epoch
  std::vector<std::optional<int64_t>> requested;  ///< pieces kept from an earlier run
};

DataSets::DataSets(const DataConfig& config, const std::optional<DataPosition>& position) : config_(config) {
  check_config();
  if (config_.mock) {
    config_.blend = {{"mock data"}, std::nullopt};
    config_.split = "1,1,1";
    // There is no place beside made-up data.
    if (config_.cache.place == IndexCache::Place::kBesideData) config_.cache.place = IndexCache::Place::kMemory;
  }
  if (position) resume(*position);
  if (config_.blend.prefixes.empty()) {
    for (int i = 0; i < kSplits; ++i) {
      const Blend& blend = config_.blend_per_split[static_cast<size_t>(i)];
      if (!blend.prefixes.empty()) build_split(static_cast<Split>(i), blend, std::pair(0.0, 1.0), true);
    }
  } else {
    const SplitBounds bounds = split_bounds(parse_split(config_.split.empty() ? kDefaultSplit : config_.split));
    for (int i = 0; i < kSplits; ++i) {
      build_split(static_cast<Split>(i), config_.blend, bounds[static_cast<size_t>(i)], false);
    }
  }
  position_.blend = blend_text();
  position_.order = order_text();
}

void DataSets::check_config() const {
  const bool per_split = std::any_of(config_.blend_per_split.begin(), config_.blend_per_split.end(),
                                     [](const Blend& blend) { return !blend.prefixes.empty(); });
  const int given = int{!config_.blend.prefixes.empty()} + int{per_split} + int{config_.mock};
  CONCLAVE_USER_CHECK(given == 1,
                      "[data] {} sources of data are given; give exactly one: --data-path, --train-data-path (with "
                      "--valid-data-path, --test-data-path), or --mock-data",
                      given);
  CONCLAVE_USER_CHECK(!per_split || config_.split.empty(),
                      "[data] --split '{}' together with per-split paths; --split divides a --data-path only",
                      config_.split);
  CONCLAVE_USER_CHECK(config_.mid_level_dataset_surplus >= 0,
                      "[data] --mid-level-dataset-surplus is {}; give 0 or more", config_.mid_level_dataset_surplus);
}

std::shared_ptr<const TokenSource> DataSets::open(const std::string& prefix) {
  std::shared_ptr<const TokenSource>& source = opened_[prefix];
  if (source) return source;
  if (config_.mock) return source = std::make_shared<MockTokens>(config_.vocab_size, config_.eod);
  const bool suffixed = prefix.ends_with(".bin") || prefix.ends_with(".idx");
  CONCLAVE_USER_CHECK(file_exists(prefix + ".idx") && file_exists(prefix + ".bin"),
                      "[data] no data set '{}': '{}' is missing; {}", prefix,
                      prefix + (file_exists(prefix + ".idx") ? ".bin" : ".idx"),
                      suffixed               ? "give the path without .bin or .idx"
                      : parse_double(prefix) ? "every second word from the first on must be a weight, or none"
                                             : "give the path of a .bin/.idx pair without the suffix, or make one with "
                                               "`conclave preprocess`");
  return source = std::make_shared<IndexedDataset>(prefix, IndexCheck::kHeader);
}

void DataSets::build_split(Split split, const Blend& blend, std::optional<std::pair<double, double>> bounds,
                           bool per_split) {
  if (!bounds) return;
  std::optional<int64_t> size = config_.samples[static_cast<size_t>(split)];
  const bool train = split == Split::kTrain;
  if (train && size) size = std::max<int64_t>(0, *size - position_.segment_start);
  // A lone data set is not blended, save that a lone weight asks for it; in a per-split path it does not.
  const bool single = blend.prefixes.size() == 1 && (per_split || !blend.weights);
  std::vector<double> weights;
  if (blend.weights && !single) weights = normalize_weights(*blend.weights);
  CONCLAVE_USER_CHECK(weights.empty() || size,
                      "[data] the {} data have weights but no number of samples is wanted; leave the weights out",
                      split_name(split));
  SplitData& out = splits_[static_cast<size_t>(split)];
  if (train) position_.sources.resize(blend.prefixes.size());
  for (size_t k = 0; k < blend.prefixes.size(); ++k) {
    Request request;
    request.split = split;
    request.source = open(blend.prefixes[k]);
    request.sequences = split_range(*bounds, request.source->sequence_count());
    if (request.sequences.first == request.sequences.second) {
      CONCLAVE_USER_CHECK(size && *size == 0,
                          "[data] '{}': the {} split has none of its {} documents; change --split or give more data",
                          blend.prefixes[k], split_name(split), request.source->sequence_count());
      out = SplitData();
      return;
    }
    if (single) request.need = size;
    if (!weights.empty()) request.need = share_of_samples(weights[k], *size, config_.mid_level_dataset_surplus);
    add_source(out, request, train ? &position_.sources[k] : nullptr);
  }
  const bool moved = train && (position_.segment_start > 0 || position_.sources[0].start > 0);
  out.samples = out.datasets[0];
  if (!single || moved) build_blend(split, weights.empty() ? nullptr : &weights, size);
}

void DataSets::add_source(SplitData& out, Request request, SourcePosition* place) {
  out.requested.push_back(request.need);
  out.sources.push_back(request.source);
  if (place != nullptr) {
    request.requested = place->samples_requested;
    if (request.need) *request.need += place->start;
  }
  out.datasets.push_back(build_dataset(request));
  if (place == nullptr) return;
  place->path = request.source->name();
  place->content = request.source->content_id();
  place->samples_requested.clear();
  for (const GptIndex& index : out.datasets.back()->indices()) {
    place->samples_requested.push_back(index.spec().num_samples);
  }
}

std::shared_ptr<const GptDataset> DataSets::build_dataset(const Request& request) {
  GptIndexSpec spec;
  spec.first = request.sequences.first;
  spec.past_last = request.sequences.second;
  spec.seq_length = config_.seq_length;
  spec.extra_token = config_.extra_token;
  if (request.split == Split::kValid) spec.last = config_.last_validation_sample;
  const std::string label = "gpt-" + std::string(split_name(request.split));
  std::vector<GptIndex> pieces;
  int64_t size = 0;
  // Each piece has a seed of its own: a second pass must not repeat the order of the first.
  const auto append = [&](std::optional<int64_t> samples) {
    spec.num_samples = samples;
    spec.seed = config_.seed + static_cast<int64_t>(pieces.size());
    pieces.emplace_back(*request.source, spec, config_.cache, label);
    size += pieces.back().size();
  };
  for (const std::optional<int64_t>& samples : request.requested) append(samples);
  if (pieces.empty())
    append(request.need);
  else if (request.need && *request.need > size)
    append(*request.need - size);
  return std::make_shared<GptDataset>(request.source, std::move(pieces));
}

void DataSets::build_blend(Split split, const std::vector<double>* weights, std::optional<int64_t> size) {
  SplitData& out = splits_[static_cast<size_t>(split)];
  BlendedDatasetSpec spec;
  spec.label = "blend-" + std::string(split_name(split));
  spec.data_prefix = out.sources[0]->name();
  std::vector<double> shares;
  for (size_t k = 0; k < out.datasets.size(); ++k) {
    const int64_t start = split == Split::kTrain ? position_.sources[k].start : 0;
    const int64_t left = out.datasets[k]->size() - start;
    if (start > 0 && left == 0 && weights == nullptr) continue;  // used up by an earlier blend
    spec.sources.push_back({out.datasets[k], static_cast<int64_t>(k), start});
    shares.push_back(weights != nullptr ? (*weights)[k] : static_cast<double>(left));
  }
  CONCLAVE_USER_CHECK(!spec.sources.empty(), "[data] every {} data set is used up; give weights, or more data",
                      split_name(split));
  if (size) {
    const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
    spec.size = weights == nullptr ? std::min(*size, static_cast<int64_t>(total)) : 0;
    for (const double share : weights != nullptr ? *weights : std::vector<double>()) {
      spec.size += share_of_samples(share, *size, 0.0);
    }
    spec.weights = std::move(shares);
  }
  out.blended = std::make_shared<BlendedDataset>(std::move(spec), config_.cache);
  out.samples = out.blended;
}

std::string DataSets::blend_text() const {
  const Blend& train = config_.blend.prefixes.empty() ? config_.blend_per_split[0] : config_.blend;
  std::string text = config_.dataloader_type == DataloaderType::kCyclic ? "cyclic" : "single";
  for (size_t k = 0; k < position_.sources.size(); ++k) {
    text += fmt::format(" {}:{}", train.weights ? Json((*train.weights)[k]).dump() : "-", position_.sources[k].content);
  }
  return text;
}

std::string DataSets::order_text() const {
  const bool per_split = config_.blend.prefixes.empty();
  return fmt::format("seq_length {} seed {} split {} extra_token {}", config_.seq_length, config_.seed,
                     per_split               ? "per-split"
                     : config_.split.empty() ? std::string(kDefaultSplit)
                                             : config_.split,
                     config_.extra_token);
}

void DataSets::resume(const DataPosition& saved) {
  const Blend& train = config_.blend.prefixes.empty() ? config_.blend_per_split[0] : config_.blend;
  for (const std::string& prefix : train.prefixes) {
    position_.sources.emplace_back().content = open(prefix)->content_id();
  }
  position_.consumed_samples = saved.consumed_samples;
  if (blend_text() == saved.blend && order_text() == saved.order) {
    position_ = saved;
    return;
  }
  position_.segment_start = saved.consumed_samples;
  if (order_text() != saved.order || config_.dataloader_type == DataloaderType::kCyclic) {
    log_warning("the data go on from their beginning: {}",
                order_text() != saved.order ? fmt::format("'{}' became '{}'", saved.order, order_text())
                                            : "a changed blend in cyclic order has no place to go on from");
    return;
  }
  std::vector<SourcePosition> known = saved.sources;
  known.insert(known.end(), saved.retired.begin(), saved.retired.end());
  for (SourcePosition& source : position_.sources) {
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const SourcePosition& other) { return other.content == source.content; });
    if (found == known.end()) continue;
    source.samples_requested = found->samples_requested;
    source.start = source.consumed = found->consumed;
    known.erase(found);
  }
  position_.retired = std::move(known);
  log_info("the blend changed after {} samples; each data set goes on where it was", saved.consumed_samples);
}

DataPosition DataSets::position(int64_t consumed_samples) const {
  DataPosition out = position_;
  const SplitData& train = split(Split::kTrain);
  out.consumed_samples = consumed_samples;
  const int64_t here = consumed_samples - position_.segment_start;
  CONCLAVE_CHECK(here >= 0, "{} samples used, the segment starts at {}", consumed_samples, position_.segment_start);
  for (SourcePosition& source : out.sources) source.consumed = source.start;
  if (!train.samples || config_.dataloader_type == DataloaderType::kCyclic) return out;
  const int64_t used = std::min(here, train.samples->size());
  if (!train.blended) {
    out.sources[0].consumed += used;
    return out;
  }
  const std::vector<int64_t> taken = train.blended->taken(used);
  for (size_t k = 0; k < taken.size(); ++k) {
    out.sources[static_cast<size_t>(train.blended->sources()[k].number)].consumed += taken[k];
  }
  return out;
}

}  // namespace conclave

#include "data/blend.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

namespace conclave {
namespace {

// numpy.sum: eight running sums in blocks of at most 128, blocks added in pairs.
double numpy_sum(std::span<const double> values) {
  const size_t count = values.size();
  if (count < 8) return std::accumulate(values.begin(), values.end(), 0.0);
  if (count > 128) {
    const size_t half = count / 2 - count / 2 % 8;
    return numpy_sum(values.first(half)) + numpy_sum(values.subspan(half));
  }
  std::array<double, 8> sums;
  std::copy_n(values.begin(), 8, sums.begin());
  size_t i = 8;
  for (; i + 8 <= count; i += 8) {
    for (size_t k = 0; k < 8; ++k) sums[k] += values[i + k];
  }
  double total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  for (; i < count; ++i) total += values[i];
  return total;
}

// How far a data set lags behind its share. The product is rounded before the difference (this room is compiled without
// fused multiply-add): ties such as 0.2 * 10 - 2 hang on the last bit.
double lag(double weight, double index, int64_t taken) { return weight * index - static_cast<double>(taken); }

}  // namespace

std::string_view split_name(Split split) {
  constexpr std::array<std::string_view, kSplits> kNames = {"train", "valid", "test"};
  return kNames[static_cast<size_t>(split)];
}

Blend parse_data_path(const std::vector<std::string>& words) {
  CONCLAVE_USER_CHECK(!words.empty(), "[data] the data path is empty; give prefixes of .bin/.idx pairs");
  Blend blend;
  std::vector<std::optional<double>> weights;
  for (size_t i = 0; words.size() % 2 == 0 && i < words.size(); i += 2) weights.push_back(parse_double(trim(words[i])));
  const auto first_path = std::find(weights.begin(), weights.end(), std::nullopt);
  if (weights.empty() || first_path != weights.end()) {
    for (auto it = first_path; it != weights.end(); ++it) {
      CONCLAVE_USER_CHECK(!it->has_value(),
                          "[data] the data path mixes weights and paths: {}; give 'weight path weight path ...', or "
                          "paths alone",
                          join(words, " "));
    }
    for (const std::string& word : words) blend.prefixes.emplace_back(trim(word));
    return blend;
  }
  blend.weights.emplace();
  for (size_t i = 0; i < weights.size(); ++i) {
    const double weight = *weights[i];
    CONCLAVE_USER_CHECK(std::isfinite(weight) && weight >= 0, "[data] weight '{}' of '{}' must be a number from 0 up",
                        words[2 * i], words[2 * i + 1]);
    blend.weights->push_back(weight);
    blend.prefixes.emplace_back(trim(words[2 * i + 1]));
  }
  return blend;
}

std::vector<std::string> read_data_args(const std::string& path) {
  std::vector<std::string> words = split_words(read_file(path));
  CONCLAVE_USER_CHECK(!words.empty(), "[data] '{}' holds no data path", path);
  return words;
}

std::array<std::vector<std::string>, kSplits> read_per_split_data_args(const std::string& path) {
  const Json json = Json::parse(read_file(path), path);
  std::array<std::vector<std::string>, kSplits> out;
  for (const auto& [key, value] : json.as_object()) {
    size_t which = 0;
    while (which < kSplits && split_name(static_cast<Split>(which)) != key) ++which;
    CONCLAVE_USER_CHECK(which < kSplits, "[data] '{}': unknown key '{}'; train, valid and test are known", path, key);
    if (value.is_null()) continue;
    for (const Json& word : value.as_array()) {
      out[which].push_back(word.is_number() ? word.dump() : word.as_string());
    }
  }
  return out;
}

std::vector<double> normalize_weights(std::span<const double> weights) {
  const double sum = numpy_sum(weights);
  CONCLAVE_USER_CHECK(std::isfinite(sum) && sum > 0,
                      "[data] the weights of a blend add up to {}; give positive numbers", sum);
  std::vector<double> out(weights.begin(), weights.end());
  for (double& weight : out) weight /= sum;
  return out;
}

std::array<double, kSplits> parse_split(std::string_view text) {
  const auto belongs = [](char c) { return c == '.' || (c >= '0' && c <= '9'); };
  std::vector<double> shares;
  for (size_t i = 0; i < text.size();) {
    if (!belongs(text[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && belongs(text[end])) ++end;
    const std::optional<double> share = parse_double(text.substr(i, end - i));
    CONCLAVE_USER_CHECK(share.has_value(), "[data] split '{}': '{}' is no number; give three shares like 969,30,1",
                        text, text.substr(i, end - i));
    shares.push_back(*share);
    i = end;
  }
  CONCLAVE_USER_CHECK(!shares.empty() && shares.size() <= kSplits,
                      "[data] split '{}' has {} shares; give up to three (train, valid, test) like 969,30,1", text,
                      shares.size());
  shares.resize(kSplits, 0.0);
  CONCLAVE_USER_CHECK(numpy_sum(shares) > 0, "[data] split '{}' gives no share to any split; give shares like 969,30,1",
                      text);
  const std::vector<double> normal = normalize_weights(shares);
  return {normal[0], normal[1], normal[2]};
}

SplitBounds split_bounds(const std::array<double, kSplits>& shares) {
  SplitBounds bounds;
  double begin = 0;
  for (size_t i = 0; i < kSplits; ++i) {
    const double end = begin + shares[i];
    if (end > begin) bounds[i] = {begin, end};
    begin = end;
  }
  return bounds;
}

std::pair<int64_t, int64_t> split_range(std::pair<double, double> bounds, int64_t count) {
  const auto place = [count](double bound) {
    return std::min(count, static_cast<int64_t>(std::nearbyint(bound * static_cast<double>(count))));
  };
  return {place(bounds.first), place(bounds.second)};
}

int64_t share_of_samples(double weight, int64_t size, double surplus) {
  const double wanted = std::ceil(static_cast<double>(size) * weight);
  const double factor = 1 + surplus;
  const double built = std::ceil(wanted * factor);
  CONCLAVE_USER_CHECK(built < 9e18, "[data] {} samples are too many", size);
  return static_cast<int64_t>(built);
}

namespace {

// Each sample comes from the data set that lags most behind its share, the first of equals; one that has given
// `sizes[k]` samples is closed. No sizes: none ever is.
void blend_by_lag(std::span<const double> weights, std::span<const int64_t> sizes, std::span<int16_t> dataset,
                  std::span<int64_t> sample) {
  std::vector<int64_t> taken(weights.size(), 0);
  for (size_t i = 0; i < dataset.size(); ++i) {
    const double index = std::max(static_cast<double>(i), 1.0);
    size_t pick = 0;
    double most = std::numeric_limits<double>::lowest();
    for (size_t k = 0; k < weights.size(); ++k) {
      if (!sizes.empty() && taken[k] == sizes[k]) continue;
      const double behind = lag(weights[k], index, taken[k]);
      if (behind > most) {
        most = behind;
        pick = k;
      }
    }
    dataset[i] = static_cast<int16_t>(pick);
    sample[i] = taken[pick]++;
  }
}

}  // namespace

void weighted_blending(std::span<const double> weights, std::span<int16_t> dataset, std::span<int64_t> sample) {
  blend_by_lag(weights, {}, dataset, sample);
}

void exhaustive_blending(std::span<const int64_t> sizes, std::span<int16_t> dataset, std::span<int64_t> sample) {
  const double total = static_cast<double>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0}));
  std::vector<double> weights;
  for (const int64_t size : sizes) weights.push_back(static_cast<double>(size) / total);
  blend_by_lag(weights, sizes, dataset, sample);
}

}  // namespace conclave

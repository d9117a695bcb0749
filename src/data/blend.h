// Which data sets, in what shares, over which splits: the pure arithmetic of --data-path, --split and blending.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace conclave {

enum class Split { kTrain = 0, kValid = 1, kTest = 2 };
inline constexpr int kSplits = 3;
std::string_view split_name(Split split);

/// Data sets and their weights, as given.
struct Blend {
  std::vector<std::string> prefixes;
  std::optional<std::vector<double>> weights;
};

/// The words after --data-path: "weight prefix weight prefix ..." if every second word from the first on is a number,
/// else prefixes alone. Throws UserError on a mixture.
Blend parse_data_path(const std::vector<std::string>& words);
/// The file of --data-args-path: the words of --data-path, separated by white space.
std::vector<std::string> read_data_args(const std::string& path);
/// The file of --per-split-data-args-path: JSON {"train": [...], "valid": [...], "test": [...]}, each words of a data
/// path (numbers may stand as numbers); a missing or null one gives no words.
std::array<std::vector<std::string>, kSplits> read_per_split_data_args(const std::string& path);

/// weights / sum, in f64, summed in NumPy's order.
std::vector<double> normalize_weights(std::span<const double> weights);

/// Shares of train, valid and test that add up to 1. Throws UserError on what is no such string.
std::array<double, kSplits> parse_split(std::string_view text);
inline constexpr std::string_view kDefaultSplit = "969, 30, 1";

/// [begin, end) of each split as fractions of the data; none for a share of zero.
using SplitBounds = std::array<std::optional<std::pair<double, double>>, kSplits>;
SplitBounds split_bounds(const std::array<double, kSplits>& shares);
/// Bounds times `count`, halves to even.
std::pair<int64_t, int64_t> split_range(std::pair<double, double> bounds, int64_t count);

/// ceil(ceil(size * weight) * (1 + surplus)): samples of one data set of a blend. `weight` is normalised.
int64_t share_of_samples(double weight, int64_t size, double surplus);

/// Picks of a blend: for sample i the data set that lags most behind weight * max(i, 1), ties to the lowest; within it
/// the next sample. Both arrays have one entry for each sample.
void weighted_blending(std::span<const double> weights, std::span<int16_t> dataset, std::span<int64_t> sample);
/// The same with weights = sizes, leaving out a data set once it is used up. Arrays hold the sum of `sizes`.
void exhaustive_blending(std::span<const int64_t> sizes, std::span<int16_t> dataset, std::span<int64_t> sample);

}  // namespace conclave

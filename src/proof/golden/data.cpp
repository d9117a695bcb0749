#include <algorithm>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "data/blend.h"
#include "data/sampler.h"
#include "proof/golden/data_cases.h"
#include "proof/golden/golden.h"

namespace conclave::proof {

namespace {

template <typename T>
std::string digest(const std::vector<T>& values) {
  return sha256_hex(std::as_bytes(std::span(values)));
}

}  // namespace

void check_blending_indices(const Json& golden, const std::string&) {
  const std::string form = golden.at("form").as_string();
  std::vector<int16_t> dataset(static_cast<size_t>(golden.at("size").as_int()));
  std::vector<int64_t> sample(dataset.size());
  size_t sources = 0;
  if (form == "weighted") {
    const std::vector<double> weights = normalize_weights(doubles(golden.at("weights")));
    expect_same("normalized", weights, doubles(golden.at("normalized")));
    weighted_blending(weights, dataset, sample);
    sources = weights.size();
  } else if (form == "exhaustive") {
    const std::vector<int64_t> sizes = ints(golden.at("sizes"));
    exhaustive_blending(sizes, dataset, sample);
    sources = sizes.size();
  } else {
    throw NotBuilt(fmt::format("form '{}'", form));
  }
  std::vector<int64_t> counts(sources, 0);
  for (const int16_t k : dataset) ++counts[static_cast<size_t>(k)];
  const Json::Array& picks = golden.at("picks").as_array();
  for (size_t i = 0; i < picks.size(); ++i) {
    expect_equal<int64_t>(fmt::format("picks[{}] data set", i), dataset.at(i), picks[i].at(size_t{0}).as_int());
    expect_equal<int64_t>(fmt::format("picks[{}] sample", i), sample.at(i), picks[i].at(size_t{1}).as_int());
  }
  if (const Json* wanted = golden.find("counts")) expect_same("counts", counts, ints(*wanted));
  expect_equal("dataset_index_sha256", digest(dataset), golden.at("dataset_index_sha256").as_string());
  expect_equal("dataset_sample_index_sha256", digest(sample), golden.at("dataset_sample_index_sha256").as_string());
}

void check_requested_sizes(const Json& golden, const std::string&) {
  const std::vector<double> weights = normalize_weights(doubles(golden.at("weights")));
  const std::vector<int64_t> sizes = ints(golden.at("sizes"));
  const double surplus = golden.at("mid_level_dataset_surplus").as_double();
  for (size_t k = 0; k < weights.size(); ++k) {
    std::vector<int64_t> target, requested;
    for (const int64_t size : sizes) {
      target.push_back(share_of_samples(weights[k], size, 0.0));
      requested.push_back(share_of_samples(weights[k], size, surplus));
    }
    expect_same(fmt::format("target[{}]", k), target, ints(golden.at("target").at(k)));
    expect_same(fmt::format("requested[{}]", k), requested, ints(golden.at("requested").at(k)));
  }
}

void check_split(const Json& golden, const std::string&) {
  const std::array<double, kSplits> shares = parse_split(golden.at("split").as_string());
  if (must_be_refused(golden)) return;
  expect_same("normalized", std::vector<double>(shares.begin(), shares.end()), doubles(golden.at("normalized")));
  const SplitBounds bounds = split_bounds(shares);
  const Json& matrix = golden.at("matrix");
  for (size_t i = 0; i < kSplits; ++i) {
    expect_equal(fmt::format("matrix[{}] is null", i), !bounds[i].has_value(), matrix.at(i).is_null());
    if (!bounds[i]) continue;
    expect_same(fmt::format("matrix[{}]", i), {bounds[i]->first, bounds[i]->second}, doubles(matrix.at(i)));
  }
  for (const Json& range : golden.at("ranges").as_array()) {
    const int64_t documents = range.at("documents").as_int();
    for (size_t i = 0; i < kSplits; ++i) {
      const Json& wanted = range.at("train_valid_test").at(i);
      const std::string what = fmt::format("range {} of {} documents", i, documents);
      expect_equal(what + " is null", !bounds[i].has_value(), wanted.is_null());
      if (!bounds[i]) continue;
      const auto [begin, end] = split_range(*bounds[i], documents);
      expect_same(what, {begin, end}, ints(wanted));
    }
  }
}

void check_data_path(const Json& golden, const std::string&) {
  const Blend blend = parse_data_path(strings(golden.at("data_path")));
  if (must_be_refused(golden)) return;
  expect_same("prefixes", blend.prefixes, strings(golden.at("prefixes")));
  const Json& weights = golden.at("weights");
  expect_equal("weights is null", !blend.weights.has_value(), weights.is_null());
  if (blend.weights) expect_same("weights", *blend.weights, doubles(weights));
}

void check_sampler(const Json& golden, const std::string&) {
  SamplerSpec spec;
  const std::string type = golden.at("dataloader_type").as_string();
  if (type != "single" && type != "cyclic") throw NotBuilt(fmt::format("dataloader type '{}'", type));
  spec.type = dataloader_type_from_name(type);
  spec.total_samples = golden.at("total_samples").as_int();
  spec.consumed_samples = golden.at("consumed_samples").as_int();
  spec.micro_batch_size = golden.at("micro_batch_size").as_int();
  spec.data_parallel_size = golden.at("data_parallel_size").as_int();
  if (const Json* drop = golden.find("drop_last")) spec.drop_last = drop->as_bool();
  if (const Json* sharding = golden.find("data_sharding")) spec.data_sharding = sharding->as_bool();
  for (int64_t rank = 0; rank < spec.data_parallel_size; ++rank) {
    spec.data_parallel_rank = rank;
    Sampler sampler(spec);
    if (must_be_refused(golden)) continue;
    const Json& wanted = golden.at("batches_per_rank").at(static_cast<size_t>(rank));
    std::vector<int64_t> batch;
    size_t count = 0;
    for (; sampler.next(batch); ++count) {
      if (count == wanted.size()) throw Mismatch(fmt::format("rank {} has more than {} micro-batches", rank, count));
      expect_same(fmt::format("rank {} micro-batch {}", rank, count), batch, ints(wanted.at(count)));
    }
    expect_equal(fmt::format("rank {} number of micro-batches", rank), count, wanted.size());
  }
}

std::vector<GoldenReport> golden_data(const std::string& folder) {
  const std::map<std::string, CaseFunction> kinds = {{"indexed_dataset", check_indexed_dataset},
                                                     {"gpt_dataset", check_gpt_dataset},
                                                     {"blended_dataset", check_blended_dataset},
                                                     {"mock_dataset", check_mock_dataset},
                                                     {"blending_indices", check_blending_indices},
                                                     {"requested_sizes", check_requested_sizes},
                                                     {"split", check_split},
                                                     {"data_path", check_data_path},
                                                     {"sampler", check_sampler}};
  return run_case_files(folder, "data", kinds, Reports::kWholeFolder);
}

}  // namespace conclave::proof

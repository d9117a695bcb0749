#include "data/blended_dataset.h"

#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "data/blend.h"

namespace conclave {
namespace {

constexpr size_t kMostSources = 32767;

template <typename T>
std::span<T> typed(std::span<std::byte> bytes) {
  return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
}

}  // namespace

BlendedDataset::BlendedDataset(BlendedDatasetSpec spec, const IndexCache& cache) : spec_(std::move(spec)) {
  const size_t count = spec_.sources.size();
  CONCLAVE_USER_CHECK(count > 0 && count < kMostSources, "[data] a blend of {} data sets; from 1 to {} are possible",
                      count, kMostSources - 1);
  const std::vector<int64_t> sizes = remaining();
  IndexRecipe recipe;
  recipe.label = spec_.label;
  recipe.description = Json::object();
  recipe.description["kind"] = "blend";
  recipe.description["version"] = 1;
  Json shares = Json::array();
  std::vector<double> weights;
  if (spec_.weights) {
    CONCLAVE_CHECK_EQ(spec_.weights->size(), count, "weights and data sets of a blend");
    weights = normalize_weights(*spec_.weights);
    for (const double weight : weights) {
      CONCLAVE_USER_CHECK(weight > 0, "[data] weight {} in a blend; leave data sets without weight out", weight);
      shares.push_back(weight);
    }
    size_ = spec_.size;
  } else {
    for (const int64_t size : sizes) {
      CONCLAVE_USER_CHECK(size > 0, "[data] a data set of a blend without weights is empty; leave it out");
      shares.push_back(size);
    }
    size_ = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  }
  recipe.description["form"] = spec_.weights ? "weighted" : "exhaustive";
  recipe.description["shares"] = shares;
  recipe.description["size"] = size_;
  recipe.plan = [this] {
    IndexPlan plan;
    plan.facts = Json::object();
    plan.sections = {{"dataset_index", DType::kI16, size_}, {"dataset_sample_index", DType::kI64, size_}};
    return plan;
  };
  recipe.fill = [&](const IndexPlan&, std::span<const std::span<std::byte>> arrays) {
    const auto dataset = typed<int16_t>(arrays[0]);
    const auto sample = typed<int64_t>(arrays[1]);
    if (spec_.weights) return weighted_blending(weights, dataset, sample);
    exhaustive_blending(sizes, dataset, sample);
  };
  file_ = load_or_build_index(cache, spec_.data_prefix, recipe);
  dataset_ = file_->view<int16_t>("dataset_index");
  sample_ = file_->view<int64_t>("dataset_sample_index");
  check_supply();
}

std::vector<int64_t> BlendedDataset::remaining() const {
  std::vector<int64_t> sizes;
  for (const BlendSource& source : spec_.sources) sizes.push_back(source.dataset->size() - source.start);
  return sizes;
}

void BlendedDataset::check_supply() const {
  const std::vector<int64_t> sizes = remaining(), used = taken(size_);
  for (size_t k = 0; k < used.size(); ++k) {
    CONCLAVE_USER_CHECK(used[k] <= sizes[k],
                        "[data] the blend takes {} samples from data set {}, which has {}; raise "
                        "--mid-level-dataset-surplus",
                        used[k], spec_.sources[k].number, sizes[k]);
  }
}

std::vector<int64_t> BlendedDataset::taken(int64_t count) const {
  CONCLAVE_CHECK(count >= 0 && count <= size_, "{} of {} samples", count, size_);
  // The last pick of each source tells its count; walking back, all have shown up after about 1 / smallest weight
  // picks.
  std::vector<int64_t> out(spec_.sources.size(), 0);
  size_t missing = out.size();
  for (int64_t i = count - 1; i >= 0 && missing > 0; --i) {
    const size_t k = static_cast<size_t>(dataset_[static_cast<size_t>(i)]);
    CONCLAVE_USER_CHECK(k < out.size(), "the index cache '{}' is damaged; remove it, it will be made anew",
                        file_->path());
    if (out[k] > 0) continue;
    out[k] = sample_[static_cast<size_t>(i)] + 1;
    --missing;
  }
  return out;
}

void BlendedDataset::fetch(int64_t index, TokenSample& out) const {
  CONCLAVE_CHECK(index >= 0 && index < size_, "sample {} of {}", index, size_);
  const size_t which = static_cast<size_t>(dataset_[static_cast<size_t>(index)]);
  const int64_t sample = sample_[static_cast<size_t>(index)];
  CONCLAVE_USER_CHECK(which < spec_.sources.size() && sample >= 0,
                      "the index cache '{}' is damaged; remove it, it will be made anew", file_->path());
  const BlendSource& source = spec_.sources[which];
  CONCLAVE_USER_CHECK(sample < source.dataset->size() - source.start,
                      "the index cache '{}' is damaged: sample {} of {}; remove it, it will be made anew",
                      file_->path(), sample, source.dataset->size() - source.start);
  source.dataset->fetch(source.start + sample, out);
  out.origin.source = source.number;
}

}  // namespace conclave

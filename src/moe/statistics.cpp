#include "moe/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/elementwise.h"
#include "moe/router_config.h"

namespace conclave {
namespace {

void zero(const Stream& stream, const Tensor& x) { kernels::fill(stream, {.x = x, .value = 0}); }

}  // namespace

double RoutingReport::dropped() const {
  return static_cast<double>(choices) - std::accumulate(tokens.begin(), tokens.end(), 0.0);
}

ExpertLoad expert_load(const std::vector<double>& tokens) {
  ExpertLoad load;
  const double sum = std::accumulate(tokens.begin(), tokens.end(), 0.0);
  load.dead = std::count(tokens.begin(), tokens.end(), 0.0);
  if (!(sum > 0)) return load;
  const auto experts = static_cast<double>(tokens.size());
  load.max_over_mean = *std::max_element(tokens.begin(), tokens.end()) * experts / sum;
  for (const double count : tokens)
    if (count > 0) load.entropy -= count / sum * std::log(count / sum);
  load.entropy = tokens.size() > 1 ? load.entropy / std::log(experts) : 1.0;
  return load;
}

RoutingStatistics::RoutingStatistics(Device& device, int64_t experts, std::vector<std::string> losses)
    : losses_(std::move(losses)) {
  const MemoryTag tag{MemoryCategory::kOptimizer, "router statistics"};
  const Shape whole{static_cast<int64_t>(losses_.size()) + experts};
  step_ = Tensor::empty(device, whole, DType::kF64, tag);
  total_ = Tensor::empty(device, whole, DType::kF64, tag);
  local_tokens_ = Tensor::empty(device, {experts}, DType::kF32, tag);
  running_counts_ = Tensor::empty(device, {experts}, DType::kF32, tag);
  begin_step(device.default_stream());
  reset(device.default_stream());
}

Tensor RoutingStatistics::loss(size_t index) const {
  CONCLAVE_CHECK(index < losses_.size(), "loss {} of {}", index, losses_.size());
  return step_.slice(static_cast<int64_t>(index), static_cast<int64_t>(index) + 1);
}

Tensor RoutingStatistics::tokens() const {
  return step_.slice(static_cast<int64_t>(losses_.size()), step_.element_count());
}

int64_t RoutingStatistics::count_micro_batch(int64_t choices) {
  step_choices_ += choices;
  return ++step_micro_batches_;
}

void RoutingStatistics::begin_step(const Stream& stream) {
  zero(stream, step_);
  zero(stream, local_tokens_);
  zero(stream, running_counts_);
  step_choices_ = 0;
  step_micro_batches_ = 0;
}

void RoutingStatistics::end_step(const Stream& stream) {
  kernels::scale(stream, {.x = step_, .y = total_, .accumulate = kernels::Accumulate::kAdd});
  total_choices_ += step_choices_;
  total_micro_batches_ += step_micro_batches_;
  begin_step(stream);
}

RoutingReport RoutingStatistics::read(const Stream& stream, ProcessGroups& groups) const {
  const int64_t ranks = groups.layout().group_size(GroupKind::kTensorDataContext);
  const int64_t sharers = groups.layout().group_size(GroupKind::kTensorContext);
  Tensor total = total_;
  if (ranks > 1) {
    total = Tensor::empty(stream.device(), total_.shape(), DType::kF64, {MemoryCategory::kWorkspace, "routing report"});
    kernels::cast(stream, {.x = total_, .y = total});
    groups.of(GroupKind::kTensorDataContext).all_reduce(stream, total, ReduceOp::kSum, "router.statistics");
  }
  const std::vector<double> values = to_host<double>(stream, total);
  RoutingReport report;
  for (size_t i = 0; i < losses_.size(); ++i) {
    const double copies = losses_[i] == kZLossName ? 1 : static_cast<double>(sharers);
    report.losses.push_back({losses_[i], values[i] / copies});
  }
  report.tokens.assign(values.begin() + static_cast<int64_t>(losses_.size()), values.end());
  report.choices = total_choices_ * ranks;
  report.micro_batches = total_micro_batches_ * (ranks / sharers);
  return report;
}

void RoutingStatistics::reset(const Stream& stream) {
  zero(stream, total_);
  total_choices_ = 0;
  total_micro_batches_ = 0;
}

}  // namespace conclave

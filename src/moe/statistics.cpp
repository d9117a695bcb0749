#include "moe/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/elementwise.h"

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
    : experts_(experts), losses_(std::move(losses)) {
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

RoutingReport RoutingStatistics::read(const Stream& stream) const {
  const std::vector<double> values = to_host<double>(stream, total_);
  RoutingReport report;
  for (size_t i = 0; i < losses_.size(); ++i) report.losses.push_back({losses_[i], values[i]});
  report.tokens.assign(values.begin() + static_cast<int64_t>(losses_.size()), values.end());
  report.choices = total_choices_;
  report.micro_batches = total_micro_batches_;
  return report;
}

void RoutingStatistics::reset(const Stream& stream) {
  zero(stream, total_);
  total_choices_ = 0;
  total_micro_batches_ = 0;
}

}  // namespace conclave

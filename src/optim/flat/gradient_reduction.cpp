#include "optim/flat/gradient_reduction.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/elementwise.h"

namespace conclave {

GradientReduction::GradientReduction(FlatGrid& grid, Device& device, const GradientReductionSettings& settings,
                                     Reduce reduce)
    : grid_(grid), device_(device), settings_(settings), reduce_(std::move(reduce)) {
  const bool alone = grid.inside().size() == 1 && grid.across().size() == 1;
  settings_.overlap = settings_.overlap && !alone && grid.prompt_buckets() > 0;
  settings_.in_bf16 = settings_.in_bf16 && !alone;
  if (settings_.overlap) side_ = std::make_unique<Stream>(device.make_stream("gradients"));
}

void GradientReduction::begin_step(int64_t micro_batches) {
  for (const Flight& flight : flights_) flight.event->synchronize();  // of a step that was given up
  flights_.clear();
  next_ = 0;
  summed_ = 0;
  micro_batches_ = micro_batches;
  completions_.assign(grid_.placed().size(), 0);
  open_.assign(grid_.buckets().size(), 0);
  // Parameters that nobody completes hold nothing up.
  for (size_t slot = 0; slot < learned_.size(); ++slot) open_[grid_.placed()[slot].bucket] += learned_[slot] != 0;
}

void GradientReduction::learn() {
  for (const int64_t completions : completions_)
    learned_.push_back(completions % micro_batches_ == 0 ? completions / micro_batches_ : kUnsteady);
}

void GradientReduction::complete(size_t slot) {
  if (!settings_.overlap) return;
  const int64_t completions = ++completions_[slot];
  const PlacedParameter& place = grid_.placed()[slot];
  if (micro_batches_ == 0 || learned_.empty() || learned_[slot] == kUnsteady) return;
  const int64_t expected = micro_batches_ * learned_[slot];
  CONCLAVE_CHECK(completions <= expected || place.bucket >= grid_.prompt_buckets(),
                 "gradient of '{}' was completed {} times in a step of {} micro-batches, after the first step {} times "
                 "were expected",
                 place.parameter->spec.name, completions, micro_batches_, expected);
  if (completions != expected) return;
  --open_[place.bucket];
  // In the order of the buckets, so that all ranks begin the same ones in the same order.
  while (next_ < grid_.prompt_buckets() && open_[next_] == 0) launch(next_++);
}

void GradientReduction::launch(size_t index) {
  const Stream stream = device_.default_stream();
  sum_uses_of(index, stream);
  summed_ = index + 1;
  const Bucket& bucket = grid_.buckets()[index];
  Flight flight{index, staged(bucket, stream), device_.make_event()};
  flight.event->record(stream);
  flight.event->wait_on(*side_);
  flight.event = device_.make_event();
  reduce_(bucket, *side_,
          flight.staging.defined() ? flight.staging : grid_.gradients.flat_slice(bucket.begin, bucket.length()));
  flight.event->record(*side_);
  flights_.push_back(std::move(flight));
}

void GradientReduction::sum_uses_of(size_t bucket, const Stream& stream) {
  for (size_t slot = grid_.buckets()[bucket].first; slot < grid_.buckets()[bucket].last; ++slot) {
    const PlacedParameter& place = grid_.placed()[slot];
    for (const Tensor& extra : place.extra_uses) {
      kernels::scale(stream, {.x = extra.view({place.count}),
                              .y = grid_.gradients.flat_slice(place.begin, place.count),
                              .accumulate = kernels::Accumulate::kAdd});
    }
  }
}

void GradientReduction::sum_uses(const Stream& stream) {
  for (; summed_ < grid_.buckets().size(); ++summed_) sum_uses_of(summed_, stream);
}

Tensor GradientReduction::staged(const Bucket& bucket, const Stream& stream) const {
  if (!settings_.in_bf16) return {};
  const Tensor staging = Tensor::empty(device_, {bucket.length()}, DType::kBF16,
                                       {MemoryCategory::kGradients, "gradients to be reduced in bf16"});
  kernels::cast(stream, {.x = grid_.gradients.flat_slice(bucket.begin, bucket.length()), .y = staging});
  return staging;
}

void GradientReduction::take_back(const Bucket& bucket, const Stream& stream, const Tensor& staging) const {
  const FlatRange held = grid_.held_piece(bucket);
  if (!staging.defined() || held.length() == 0) return;
  kernels::cast(stream, {.x = staging.flat_slice(held.begin - bucket.begin, held.length()),
                         .y = grid_.gradients.flat_slice(held.begin, held.length())});
}

void GradientReduction::finish(const Stream& stream) {
  CONCLAVE_CHECK_EQ(summed_, grid_.buckets().size(), "buckets whose uses are added up before they are reduced");
  if (settings_.overlap && micro_batches_ > 0 && learned_.empty()) learn();
  for (const Flight& flight : flights_) {
    flight.event->wait_on(stream);
    take_back(grid_.buckets()[flight.bucket], stream, flight.staging);
  }
  flights_.clear();
  for (size_t index = next_; index < grid_.buckets().size(); ++index) {
    const Bucket& bucket = grid_.buckets()[index];
    const Tensor staging = staged(bucket, stream);
    reduce_(bucket, stream, staging.defined() ? staging : grid_.gradients.flat_slice(bucket.begin, bucket.length()));
    take_back(bucket, stream, staging);
  }
}

}  // namespace conclave

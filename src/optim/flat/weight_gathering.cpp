#include "optim/flat/weight_gathering.h"

namespace conclave {

WeightGathering::WeightGathering(const FlatGrid& grid, Device& device, bool overlap, Gather gather)
    : grid_(grid), device_(device), gather_(std::move(gather)) {
  if (overlap && grid.inside().size() > 1) side_ = std::make_unique<Stream>(device.make_stream("weights"));
}

void WeightGathering::start(const Stream& stream) {
  if (grid_.inside().size() == 1) return;
  wait_for_all(stream);
  const std::vector<Bucket>& buckets = grid_.buckets();
  if (!side_) {
    for (size_t index = buckets.size(); index-- > 0;) gather_(buckets[index], stream);
    return;
  }
  const std::unique_ptr<Event> updated = device_.make_event();
  updated->record(stream);
  updated->wait_on(*side_);
  pending_.resize(buckets.size());
  for (size_t index = buckets.size(); index-- > 0;) {
    gather_(buckets[index], *side_);
    pending_[index] = device_.make_event();
    pending_[index]->record(*side_);
  }
}

void WeightGathering::wait(size_t bucket, const Stream& stream) {
  pending_[bucket]->wait_on(stream);
  pending_[bucket].reset();
}

void WeightGathering::wait_for_all(const Stream& stream) {
  for (size_t bucket = pending_.size(); bucket-- > 0;) wait_for(bucket, stream);
}

}  // namespace conclave

// Getting updated compute weights from the ranks that hold them: at once after an update, or (overlapped) in the
// background, where acquire() waits for the bucket it needs. The next pass needs the first-declared parameters first,
// so buckets are gathered from the last to the first.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "device/device.h"
#include "optim/flat/flat_grid.h"

namespace conclave {

class WeightGathering {
 public:
  /// Fills compute weights of a bucket from every rank's owned piece.
  using Gather = std::function<void(const Bucket& bucket, const Stream& stream)>;

  WeightGathering(const FlatGrid& grid, Device& device, bool overlap, Gather gather);

  void start(const Stream& stream);
  /// `stream` sees the gathered weights of a bucket.
  void wait_for(size_t bucket, const Stream& stream) {
    if (!pending_.empty() && pending_[bucket]) wait(bucket, stream);
  }
  void wait_for_all(const Stream& stream);

 private:
  const FlatGrid& grid_;
  Device& device_;
  Gather gather_;
  std::unique_ptr<Stream> side_;
  std::vector<std::unique_ptr<Event>> pending_;  ///< by bucket; empty: nothing is under way

  void wait(size_t bucket, const Stream& stream);
};

}  // namespace conclave

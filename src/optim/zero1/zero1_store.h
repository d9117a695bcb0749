// ZeRO, stage 1 (Rajbhandari et al. 2020): data-parallel ranks share main weights and optimizer states. Each sums and
// updates its own piece of every bucket, then all gather the compute weights.
#pragma once

#include "optim/flat/flat_store.h"

namespace conclave {

class Zero1Store final : public FlatStore {
 public:
  explicit Zero1Store(const TrainingStoreArgs& args) : FlatStore(args, true) {}

 protected:
  void reduce(const FlatGrid& grid, const Bucket& bucket, const Stream& stream, const Tensor& gradients) override;
  void gather(const FlatGrid& grid, const Bucket& bucket, const Stream& stream) override;
};

}  // namespace conclave

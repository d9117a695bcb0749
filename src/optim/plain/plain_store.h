// Every data-parallel rank holds everything and makes the same updates.
#pragma once

#include "optim/flat/flat_store.h"

namespace conclave {

class PlainStore final : public FlatStore {
 public:
  explicit PlainStore(const TrainingStoreArgs& args) : FlatStore(args, false) {}

 protected:
  void reduce(const FlatGrid& grid, const Bucket& bucket, const Stream& stream, const Tensor& gradients) override;
  void gather(const FlatGrid&, const Bucket&, const Stream&) override {}  // nothing is elsewhere
};

}  // namespace conclave

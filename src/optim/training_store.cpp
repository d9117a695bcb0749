#include "optim/training_store.h"

#include "comm/process_groups.h"
#include "optim/plain/plain_store.h"
#include "optim/zero1/zero1_store.h"

namespace conclave {

std::unique_ptr<TrainingStore> make_training_store(const TrainingStoreArgs& args) {
  if (args.config.sharded && args.optimizer != nullptr) return std::make_unique<Zero1Store>(args);
  return std::make_unique<PlainStore>(args);
}

std::unique_ptr<TrainingStore> make_plain_store(Device& device, DType compute_dtype, const OptimizerConfig* optimizer) {
  return make_training_store({.device = device,
                              .compute_dtype = compute_dtype,
                              .optimizer = optimizer,
                              .config = {},
                              .groups = ProcessGroups::single()});
}

}  // namespace conclave

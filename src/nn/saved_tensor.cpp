#include "nn/saved_tensor.h"

namespace conclave {

const Tensor& SavedTensor::get() const {
  CONCLAVE_CHECK(defined(), "a saved tensor was asked for that nobody saved");
  if (!state_->value.defined()) state_->value = state_->rebuild();
  return state_->value;
}

void SavedTensor::forget() const {
  if (defined() && state_->rebuild) state_->value = Tensor();
}

}  // namespace conclave

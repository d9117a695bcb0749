#pragma once

#include "nn/saved_tensor.h"

namespace conclave {

class KeepEverything final : public SavePolicy {
 public:
  SaveAction action(const char*) const override { return SaveAction::kKeep; }
  bool reruns(const char*) const override { return false; }
};

}  // namespace conclave

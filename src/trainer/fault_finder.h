// Where a NaN or infinity first appears in a step.
#pragma once

#include <string>

#include "nn/context.h"

namespace conclave {

class FaultFinder final : public Observer {
 public:
  void see(const Stream& stream, const std::string& where, const Tensor& tensor) override;
  bool found() const { return !first_.empty(); }
  /// "decoder.layers.3.mlp.experts.linear_fc1 [512, 1024]: 17 bad values, the last sound one is ...".
  std::string text() const;

 private:
  std::string first_;
  std::string last_good_;
};

}  // namespace conclave

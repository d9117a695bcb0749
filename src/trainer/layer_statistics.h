// Norms and largest values by layer, for hunting a loss spike.
#pragma once

#include <map>
#include <string>

#include "nn/context.h"
#include "trainer/engine.h"

namespace conclave {

/// Watches one training step of an engine while it lives.
class LayerStatistics final : public Observer {
 public:
  explicit LayerStatistics(Engine& engine);
  ~LayerStatistics() override;
  void see(const Stream& stream, const std::string& where, const Tensor& tensor) override;

  /// name -> value: "activation-norm/decoder.layers.0", "activation-grad-norm/...", "grad-norm/PARAMETER",
  /// "param-norm/PARAMETER", "max-router-logit/decoder.layers.0", "max-attention-logit/decoder.layers.0".
  std::map<std::string, double> take();

 private:
  Engine& engine_;
  std::map<std::string, double> squares_;  ///< of norms, over micro-batches
  std::map<std::string, double> largest_;
};

}  // namespace conclave

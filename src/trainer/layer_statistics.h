// Norms and largest values by layer, for hunting a loss spike.
#pragma once

#include <map>
#include <string>

#include "nn/context.h"
#include "trainer/engine.h"

namespace conclave {

/// Watches training steps of an engine while it lives. Values are the whole job's, the same on every rank: norms over
/// all ranks' tokens and elements (each once), largest values over all ranks.
class LayerStatistics final : public Observer {
 public:
  enum class Detail {
    kAttentionLogits,  ///< the largest logit of each layer's attention alone
    kAll
  };
  LayerStatistics(Engine& engine, Detail detail);
  ~LayerStatistics() override;
  bool wants_attention_logits() const override { return true; }
  void see(const Stream& stream, const std::string& where, const Tensor& tensor) override;

  /// Call it as StepRequest::on_gradients: the update leaves nothing of the gradients.
  void see_gradients();

  /// Collective. name -> value: "activation-norm/decoder.layers.0", "activation-grad-norm/...", "grad-norm/PARAMETER",
  /// "param-norm/PARAMETER", "max-router-logit/decoder.layers.0" (of absolute values),
  /// "max-attention-logit/decoder.layers.0" (scaled, before softmax).
  std::map<std::string, double> take();
  /// Collective. Over all layers; -infinity if there was none.
  double largest_attention_logit();

 private:
  Engine& engine_;
  Detail detail_;
  std::map<std::string, double> squares_;  ///< of norms, over micro-batches, of what this rank answers for
  std::map<std::string, double> largest_;

  bool counts_activations() const;
  void add_squares(const std::string& prefix, const std::vector<StateTensor>& owned, double share);
  void keep_largest(const std::string& name, double value);
};

}  // namespace conclave

// A ParameterStore that also trains: zeroing, finalising, clipping and updating are steps of the action list. Where
// main weights, states and shards live is its own affair (plain now; zero1, fsdp, offload stand beside it).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/parameter_store.h"

namespace conclave {

enum class OptimizerKind { kAdam, kSgd };

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::kAdam;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  ///< Adam
  double momentum = 0.9;                              ///< SGD
};

/// Rates of one update.
struct UpdateRates {
  double lr = 0;
  double decoupled_lr = 0;  ///< embedding and output layer
  double weight_decay = 0;  ///< of parameters that decay
  int64_t step = 1;         ///< updates done, this one included: bias correction
};

/// Gradient norm and what clipping multiplies by; both stay on the device.
struct ClipResult {
  Tensor norm;   ///< [1] f32
  Tensor scale;  ///< [1] f32
};

/// Something that a checkpoint holds.
struct StateTensor {
  std::string name;
  ShardSpec shard;
  Tensor tensor;
  bool optimizer = false;  ///< left out by --no-save-optim, --no-load-optim, --finetune
};

class TrainingStore : public ParameterStore {
 public:
  /// At the start of a step. Costs nothing where the last update left zeros and nobody asked for a gradient since.
  virtual void zero_gradients(const Stream& stream) = 0;
  /// Sums the uses of shared gradients and multiplies by `scale` (per-token loss; 1 otherwise).
  virtual void finalize_gradients(const Stream& stream, double scale) = 0;
  /// Global norm over every parameter once; scale = min(1, max_norm / (norm + 1e-6)), 1 if max_norm <= 0.
  virtual ClipResult clip(const Stream& stream, double max_norm) = 0;
  /// Gradients are spent afterwards: their values may be gone.
  virtual void update(const Stream& stream, const UpdateRates& rates, const Tensor& gradient_scale) = 0;
  /// Weights, persistent buffers and optimizer states.
  virtual std::vector<StateTensor> state() const = 0;
  /// Call after weights were written from outside: compute copies are made anew.
  virtual void weights_changed(const Stream& stream) = 0;
  /// Number of zero gradients; and the norm of the weights ([1] f64 sum of squares).
  virtual Tensor count_zero_gradients(const Stream& stream) = 0;
  virtual Tensor weight_square_sum(const Stream& stream) = 0;
  /// The f32 main weight of a parameter.
  virtual Tensor main_weight(const Parameter& parameter) const = 0;
};

/// Everything held whole in flat buffers on one device: f32 main weights, f32 gradients, f32 states, and bf16 compute
/// copies where compute_dtype is bf16. Without an optimizer (evaluation, generation) weights alone.
std::unique_ptr<TrainingStore> make_plain_store(Device& device, DType compute_dtype, const OptimizerConfig* optimizer);

}  // namespace conclave

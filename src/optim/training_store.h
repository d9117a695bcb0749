// A ParameterStore that also trains: zeroing, finalising, clipping and updating are steps of the action list. Where
// main weights, states and shards live is its own affair: plain (every data-parallel rank holds everything) and zero1
// (they share the optimizer's state) are here; fsdp and offload will stand beside them.
//
// Functions that say "collective" are called by all ranks of the job at the same point of a step.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/parameter_store.h"
#include "optim/bucket_plan.h"

namespace conclave {

class ProcessGroups;

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

/// Something that a checkpoint holds, or a piece of it.
struct StateTensor {
  std::string name;
  ShardSpec shard;
  Tensor tensor;           ///< elements of the boxes, one after the other
  bool optimizer = false;  ///< left out by --no-save-optim, --no-load-optim, --finetune
};

class TrainingStore : public ParameterStore {
 public:
  /// Zero gradients for a step of so many micro-batches (0: not known, and nothing is reduced before
  /// finalize_gradients()), at no cost where the last update left zeros and nobody asked for a gradient since. A later
  /// step's gradients are completed as often in each micro-batch as the first step's.
  virtual void begin_step(const Stream& stream, int64_t micro_batches) = 0;
  /// Collective. Gradients become sums over the job, then are multiplied by `scale`. Sums, each in a fixed order: uses
  /// of a parameter (0, 1, ...); parts over TP; pipeline stages that share it (first, last); DP x CP ranks, for experts
  /// EDP ranks: inside an optimizer instance, then over instances. Never means: losses carry their weights.
  virtual void finalize_gradients(const Stream& stream, double scale) = 0;
  /// Collective. Global norm over every parameter once, the same bits on all ranks; scale = min(1, max_norm / (norm +
  /// 1e-6)), 1 if max_norm <= 0.
  virtual ClipResult clip(const Stream& stream, double max_norm) = 0;
  /// Collective. Gradients are spent afterwards: their values may be gone.
  virtual void update(const Stream& stream, const UpdateRates& rates, const Tensor& gradient_scale) = 0;

  /// Everything held here, each name at most once: weights, persistent buffers, optimizer states. What a load fills.
  virtual std::vector<StateTensor> state() = 0;
  /// What this rank writes: over the job, every element once. A name may come several times, with other boxes.
  virtual std::vector<StateTensor> owned_state() = 0;
  /// Finalised gradients (f32, by parameter name): over the ranks of an optimizer instance, every element once.
  virtual std::vector<StateTensor> owned_gradients() = 0;
  /// Collective. Call after what state() gave was written from outside: compute copies are made anew.
  virtual void weights_changed(const Stream& stream) = 0;

  /// Collective, over every parameter once: number of zero gradients ([1] i64), the weights' sum of squares ([1] f64).
  virtual Tensor count_zero_gradients(const Stream& stream) = 0;
  virtual Tensor weight_square_sum(const Stream& stream) = 0;
  /// The f32 main weight of a parameter, [local shape]. Where bf16 weights are sharded only of those held whole here.
  virtual Tensor main_weight(const Parameter& parameter) = 0;
};

struct StoreConfig {
  bool sharded = false;                   ///< ZeRO-1 (Rajbhandari et al. 2020): --use-distributed-optimizer
  ShardUnit unit = ShardUnit::kElements;  ///< what the optimizer wants whole
  int64_t bucket_elements = 0;            ///< --ddp-bucket-size; 0: by bucket_count
  int64_t bucket_count = 0;               ///< --ddp-num-buckets; 0: max(40e6, 1e6 * ranks) elements a bucket
  bool overlap_grad_reduce = false;       ///< reduce a bucket while backward goes on
  bool overlap_param_gather = false;      ///< gather updated weights while the next pass begins
  bool grad_reduce_in_bf16 = false;       ///< where compute is bf16
};

/// Flat buffers on one device, dense and expert parameters apart: f32 gradients, f32 main weights and states, and bf16
/// compute copies where compute_dtype is bf16. Without an optimizer (evaluation, generation) weights alone, never
/// sharded. `groups` must outlive the store.
struct TrainingStoreArgs {
  Device& device;
  DType compute_dtype = DType::kF32;
  const OptimizerConfig* optimizer = nullptr;
  StoreConfig config;
  ProcessGroups& groups;
};
std::unique_ptr<TrainingStore> make_training_store(const TrainingStoreArgs& args);

/// One process that holds everything.
std::unique_ptr<TrainingStore> make_plain_store(Device& device, DType compute_dtype, const OptimizerConfig* optimizer);

}  // namespace conclave

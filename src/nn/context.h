// What a module gets with each call: where to run, whose micro-batch it is, what to keep. Modules hold no state of
// their own between calls; what belongs to a micro-batch lives in `saved` or here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/philox.h"
#include "comm/process_groups.h"
#include "nn/kv_cache.h"
#include "nn/parameter_store.h"
#include "nn/saved_tensor.h"
#include "nn/weight_gradient_queue.h"

namespace conclave {

/// A run of neighbouring positions: rows [begin, begin + size) of a tensor [S,...] are positions [position, position +
/// size) of the sequence.
struct SequencePiece {
  int64_t begin = 0, size = 0, position = 0;
};

/// What is known of a micro-batch before it runs.
struct BatchInfo {
  int64_t index = 0;                  ///< within the step
  int64_t sequence_length = 0;        ///< S: positions that this rank's CP share has, all of them without CP
  std::vector<SequencePiece> pieces;  ///< where they stand in the sequence; empty: at its start
  int64_t batch = 0;                  ///< B
  std::vector<uint64_t> ordinals;     ///< [B] number of each sample in the run: keys dropout, jitter and forced balance
  Tensor positions;                   ///< [B,S] i32
  Tensor document_starts;             ///< [B,S] i32, only where documents are kept apart (see kernels/attention.h)
  std::vector<Tensor> shifted_tokens;  ///< [B,S] i32 by prediction depth: tokens moved left by depth + 1; training only
  Tensor padding;                      ///< [T] u8, 1 = padding token, left out of the balancing losses; optional
};

/// Sees tensors as modules make them: to find the first bad value, or to take norms. `where` names layer, op and
/// tensor. A pass that repeats another (Pass::kAgain) shows nothing.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void see(const Stream& stream, const std::string& where, const Tensor& tensor) = 0;
  /// Whether to make what a pass does without: "...core_attention.max_logit", the largest score of each query.
  virtual bool wants_attention_logits() const { return false; }
};

/// How losses that hang on activations (balancing, z-loss) weigh in the objective: their gradient is multiplied by
/// this. Default 1/M; per-token loss: T / (all valid tokens of the step), see docs/routing.md.
struct LossWeights {
  double auxiliary = 1;
};

/// Whether this pass is one that counts: `kPlain` forward of a step or evaluation; `kAgain` repeats a forward whose
/// statistics were already taken (recomputation).
enum class Pass { kPlain, kAgain };

struct Context {
  Stream stream;
  ParameterStore& store;
  WeightGradientQueue& weight_gradients;
  const SavePolicy& save_policy;
  const BatchInfo& batch;
  uint64_t seed = 0;
  int64_t iteration = 0;       ///< number of the step in the run
  bool training = false;       ///< dropout, jitter, losses on activations
  bool with_gradient = false;  ///< a backward will follow: keep what it needs
  Pass pass = Pass::kPlain;
  LossWeights loss_weights;
  KvCache* cache = nullptr;      ///< generation only
  Observer* observer = nullptr;  ///< usually nobody looks
  ProcessGroups* groups = &ProcessGroups::single();

  Device& device() const { return stream.device(); }
  DType compute_dtype() const { return store.compute_dtype(); }
  Tensor empty(const Shape& shape, DType dtype, const char* name) const {
    return Tensor::empty(stream.device(), shape, dtype, {MemoryCategory::kActivations, name});
  }
  /// An activation [shape] of the compute dtype.
  Tensor empty(const Shape& shape, const char* name) const { return empty(shape, compute_dtype(), name); }

  void observe(std::string_view where, const Tensor& tensor) const {
    if (observer != nullptr && pass == Pass::kPlain) observer->see(stream, std::string(where), tensor);
  }

  /// Which positions the rows of [S,B,...] tensors are: inside tensor-parallel regions, and outside, where sequence
  /// parallelism shares them out over TP.
  std::vector<SequencePiece> pieces_inside() const {
    return batch.pieces.empty() ? std::vector<SequencePiece>{{0, batch.sequence_length, 0}} : batch.pieces;
  }
  std::vector<SequencePiece> pieces_outside() const;

  /// The random streams of an op, one per sequence of the micro-batch.
  std::vector<RandomStream> random_streams(std::string_view op) const {
    std::vector<RandomStream> streams;
    for (const uint64_t ordinal : batch.ordinals) streams.emplace_back(seed, op, ordinal);
    return streams;
  }

  /// Saves `value` under a policy name: keeps it, or keeps `rebuild` alone. Undefined if no backward follows.
  SavedTensor save(const char* name, const Tensor& value, SavedTensor::Rebuild rebuild) const {
    if (!with_gradient) return {};
    if (save_policy.action(name) == SaveAction::kRecompute) return SavedTensor(std::move(rebuild));
    return SavedTensor(value);
  }
  /// The same for values that no policy discards.
  SavedTensor keep(const Tensor& value) const { return with_gradient ? SavedTensor(value) : SavedTensor(); }
};

}  // namespace conclave

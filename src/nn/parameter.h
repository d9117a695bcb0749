// What a parameter is; its memory lives behind a ParameterStore.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "layout/model_part.h"
#include "tensor/shard.h"

namespace conclave {

/// How a parameter starts. Every value is a function of (seed, tensor name, global element index).
struct Initializer {
  enum class Kind { kZeros, kOnes, kNormal, kUniform };
  Kind kind = Kind::kZeros;
  double std = 0;  ///< kNormal; kUniform: values in [-std, std)
  static Initializer zeros() { return {Kind::kZeros, 0}; }
  static Initializer ones() { return {Kind::kOnes, 0}; }
  static Initializer normal(double std) { return {Kind::kNormal, std}; }
  static Initializer uniform(double bound) { return {Kind::kUniform, bound}; }
};

/// Which grid a parameter lives on: whose ranks hold the same elements and share its update.
enum class ParameterGrid {
  kDense,  ///< gradients are summed over DP x CP
  kExpert  ///< gradients are summed over EDP
};

/// What the optimizer and the learning-rate groups want to know.
enum class ParameterRole { kMatrix, kExpertMatrices, kEmbedding, kOutput, kRouter, kNorm, kBias };

struct ParameterSpec {
  std::string name;  ///< logical name, e.g. "decoder.layers.0.self_attention.linear_qkv.weight"
  ShardSpec shard;   ///< global shape and the boxes held here
  /// Shape of the local tensor, whose row-major order is that of the boxes; empty: the global shape.
  std::vector<int64_t> local_shape;
  ParameterGrid grid = ParameterGrid::kDense;
  /// Every TP rank sees its own part of the sequence, so its gradient is a part: summed over TP at the end of a step.
  bool partial_over_tensor = false;
  /// Held by the first and the last pipeline stage (a tied embedding): gradients are summed over the embedding group.
  bool shared_by_stages = false;
  /// Per box: 1 = another rank (of TP, ETP or PP) holds it too and is the one that counts it in norms and writes it to
  /// checkpoints. Empty: all boxes are this rank's own. Data-parallel replicas do not show here.
  std::vector<uint8_t> replica;
  Initializer init;
  ParameterRole role = ParameterRole::kMatrix;
  bool weight_decay = true;
  /// What one matrix is for optimizers over whole matrices: trailing axes; leading axes are a stack (experts).
  int matrix_axes = 2;
  /// Places that add to the gradient independently (a tied embedding has two, perhaps on two pipeline stages). Each has
  /// a buffer of its own and they are summed, in order, when the step's gradients are finalised: so no schedule changes
  /// the order of the sum.
  int gradient_uses = 1;
};

/// Marks a parameter that every TP rank holds whole: the first counts it. `partial`: see partial_over_tensor.
inline void replicate_over_tensor(ParameterSpec& spec, const Slice& tensor, bool partial) {
  if (tensor.is_whole()) return;
  spec.partial_over_tensor = partial;
  spec.replica.assign(spec.shard.boxes.size(), tensor.rank == 0 ? 0 : 1);
}

/// Shape of the tensors that acquire() and gradient() return.
inline const std::vector<int64_t>& local_shape(const ParameterSpec& spec) {
  return spec.local_shape.empty() ? spec.shard.global_shape : spec.local_shape;
}

/// A handle; made by ParameterStore::declare and valid as long as the store.
struct Parameter {
  ParameterSpec spec;
  int index = 0;  ///< in order of declaration
};

}  // namespace conclave

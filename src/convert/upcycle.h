// Upcycling (Komatsuzaki et al. 2023; granular: He et al. 2024): the MLP of a dense model becomes experts, as copies or
// as slices, so that the new model starts as the function that the dense one was.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_tensor.h"
#include "checkpoint/reader.h"
#include "convert/hf_import.h"

namespace conclave {

/// Tensors of ours by name, from a checkpoint or a Hugging Face directory.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// Weights and persistent buffers, no optimizer states.
  virtual std::vector<OwnTensor> tensors() const = 0;
  virtual DType dtype(const std::string& name) const = 0;
  /// Elements [begin, ...) in row-major order, converted to `dtype`.
  virtual void read(const std::string& name, int64_t begin, DType dtype, std::span<std::byte> out) const = 0;
};
std::unique_ptr<TensorSource> tensor_source(const CheckpointReader& checkpoint);
std::unique_ptr<TensorSource> tensor_source(const HuggingFaceWeights& weights);

struct UpcyclingRequest {
  ModelSpec dense, moe;
  int64_t granularity = 1;  ///< G: slices that an MLP is cut into
  /// The cube root (square root without a gate) of the factor on both products and a random router, as Megatron-LM
  /// does, in place of what keeps the function.
  bool split_scaling = false;
  uint64_t seed = 0;
};

/// What expert weights are multiplied by.
struct UpcyclingPlan {
  double fc1 = 1, fc2 = 1, fc2_bias = 1;
  bool zero_router = false;
  bool exact = true;  ///< the new model's first logits are the dense one's
  std::string note;   ///< why not, otherwise
};

/// With every expert a copy and G = 1 the weights of a token's experts must sum to one; where the router does not make
/// them do so (softmax before the choice, no normalisation), it starts at zero, where every weight is known. G slices
/// of a copy share one row of the router and are chosen together if K is a multiple of G. The whole factor goes to FC2:
/// that is exact for every activation. Throws UserError with everything that does not fit.
UpcyclingPlan plan_upcycling(const UpcyclingRequest& request);

/// The tensors of the new model, made while they are written; `source` must outlive them.
std::vector<CheckpointTensor> upcycled_tensors(const TensorSource& source, const UpcyclingRequest& request,
                                               const UpcyclingPlan& plan);

}  // namespace conclave

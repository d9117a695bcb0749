// Moving rows to the experts that were chosen for them, and back.
#pragma once

#include <memory>

#include "moe/experts.h"

namespace conclave {

/// What the router decided: K choices per token.
struct Routing {
  Tensor experts;            ///< [T,K] i32, -1 = dropped
  Tensor probs;              ///< [T,K], router dtype
  int64_t expert_count = 0;  ///< E
  int64_t capacity = 0;      ///< > 0: every expert gets exactly this many rows (padded to capacity)
};

/// Where each row came from; kept until the backward has passed.
struct DispatchPlan {
  Tensor offsets;    ///< [E+1] i64
  Tensor row_token;  ///< [P] i32
  Tensor row_slot;   ///< [P] i32
  Tensor slot_row;   ///< [T,K] i32
  DType probs_dtype = DType::kF32;
};

/// Payloads are rows of any width and dtype; probabilities travel beside them.
class Dispatcher {
 public:
  virtual ~Dispatcher() = default;
  /// x [T,W] -> rows [P,W] sorted by expert, with their probabilities. `rows` makes itself again from x_saved when
  /// asked later.
  virtual ExpertRows dispatch(const Context& context, const SavedTensor& x_saved, const Tensor& x,
                              const Routing& routing, DispatchPlan* plan) const = 0;
  /// Expert outputs [P,W] -> [T,W]: the sum of each token's rows in order of choice.
  virtual Tensor combine(const Context& context, const Tensor& rows, const DispatchPlan& plan) const = 0;
  /// dy [T,W] -> gradient of the expert outputs [P,W].
  virtual Tensor combine_backward(const Context& context, const Tensor& dy, const DispatchPlan& plan) const = 0;
  /// Gradients of rows and of their probabilities -> dx [T,W] and dprobs [T,K].
  virtual Tensor dispatch_backward(const Context& context, const ExpertsGradient& gradient, const DispatchPlan& plan,
                                   Tensor* dprobs) const = 0;
};

/// One process holds every expert: a permutation and nothing else. The oracle of the others.
std::unique_ptr<Dispatcher> make_reference_dispatcher();

}  // namespace conclave

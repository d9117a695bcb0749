// The parameters of one grid (dense, or experts) in flat buffers: where each lies, in which bucket, which pieces this
// rank holds and which it answers for.
//
// Order in the buffer: last declared first (about the order in which backward completes gradients); behind them those
// whose gradients also need a sum over TP or over pipeline stages, which is made when the step's gradients are final.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "comm/process_groups.h"
#include "nn/parameter.h"
#include "optim/bucket_plan.h"
#include "tensor/tensor.h"

namespace conclave {

struct PlacedParameter {
  const Parameter* parameter = nullptr;
  int64_t begin = 0, count = 0;  ///< elements of the flat buffers
  size_t bucket = 0;
  std::vector<Tensor> extra_uses;  ///< gradients of uses 1, 2, ...: [local shape] f32
};

/// [begin, end) of a flat buffer.
struct FlatRange {
  int64_t begin = 0, end = 0;
  int64_t length() const { return end - begin; }
};

/// Consecutive elements of one parameter.
struct Part {
  size_t slot = 0;    ///< which parameter, in buffer order
  int64_t local = 0;  ///< first element, of the parameter's local storage
  int64_t flat = 0;   ///< the same element in buffers of everything (gradients, compute weights)
  int64_t held = 0;   ///< and in buffers of what this rank holds alone (main weights, states)
  int64_t count = 0;
};

struct FlatGridSettings {
  ParameterGrid grid = ParameterGrid::kDense;
  bool sharded = false;  ///< this rank holds main weights and states of its pieces alone
  ShardUnit unit = ShardUnit::kElements;
  int64_t bucket_elements = 0;  ///< 0: by bucket_count
  int64_t bucket_count = 0;     ///< 0: the default size
};

class FlatGrid {
 public:
  FlatGrid(const FlatGridSettings& settings, ProcessGroups& groups);

  void add(const Parameter& parameter) { declared_.push_back(&parameter); }
  /// After the last add(): fixes all places.
  void freeze();

  std::vector<PlacedParameter>& placed() { return placed_; }
  const std::vector<PlacedParameter>& placed() const { return placed_; }
  const std::vector<Bucket>& buckets() const { return plan_.buckets; }
  /// Buckets [0, prompt_buckets) need no sum but that over data-parallel ranks.
  size_t prompt_buckets() const { return prompt_buckets_; }
  /// Gradients that are parts of a sum over TP.
  FlatRange partial_over_tensor() const { return partial_; }
  int64_t elements() const { return plan_.elements; }  ///< of the flat buffers, gaps included
  int64_t held_elements() const { return held_elements_; }

  FlatRange held_piece(const Bucket& bucket) const;
  /// Of all ranks that share one copy of the optimizer's state, exactly one owns an element.
  FlatRange owned_piece(const Bucket& bucket) const;
  /// What this rank holds of each parameter, at most one part each, in buffer order.
  const std::vector<Part>& held_parts() const { return held_parts_; }
  /// Owned, and counted here (spec.replica is 0): every element of a parameter once over such ranks.
  const std::vector<Part>& owned_parts() const { return owned_parts_; }
  /// Neighbouring parts in one: those that lie side by side in both kinds of buffers, gaps of alignment (always zero)
  /// included, and whose parameters are `alike`.
  std::vector<Part> merged(const std::vector<Part>& parts,
                           const std::function<bool(const ParameterSpec&, const ParameterSpec&)>& alike) const;

  /// Who shares one copy of the optimizer's state, and who holds the same pieces of the other copies.
  Communicator& inside() const { return *inside_; }
  Communicator& across() const { return *across_; }
  /// Whether this rank is of the first copy.
  bool is_first_instance() const { return first_instance_; }

  // Made by the store: [elements] where not said otherwise.
  Tensor compute;        ///< compute dtype
  Tensor gradients;      ///< f32
  Tensor main;           ///< f32 [held_elements]; undefined if `compute` is f32 and serves as main weights
  Tensor first, second;  ///< f32 [held_elements], optimizer states; may be undefined

  Tensor main_of(const Part& part) const {
    return main.defined() ? main.flat_slice(part.held, part.count) : compute.flat_slice(part.flat, part.count);
  }

 private:
  FlatGridSettings settings_;
  Communicator* inside_;
  Communicator* across_;
  bool first_instance_ = true;
  std::vector<const Parameter*> declared_;
  std::vector<PlacedParameter> placed_;
  BucketPlan plan_;
  size_t prompt_buckets_ = 0;
  FlatRange partial_;
  int64_t held_elements_ = 0;
  std::vector<Part> held_parts_, owned_parts_;

  int64_t bucket_elements() const;
  void find_parts(const Bucket& bucket);
  void add_owned(const Part& part);
};

}  // namespace conclave

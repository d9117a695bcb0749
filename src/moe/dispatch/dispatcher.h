// Moving rows to the experts that were chosen for them, and back: over the ranks that share a layer's experts.
// docs/routing.md has the ways, what each costs, and the order of sums.
#pragma once

#include <functional>
#include <memory>

#include "moe/routing_load.h"
#include "nn/context.h"

namespace conclave {

/// What the router decided for the tokens of this rank: K choices per token.
struct Routing {
  Tensor experts;            ///< [T,K] i32, of all E; -1 = dropped
  Tensor probs;              ///< [T,K] f32 or f64
  int64_t expert_count = 0;  ///< E
  int64_t capacity = 0;      ///< > 0: every expert gets exactly so many rows from each rank (padded to capacity)
  int64_t most_rows = -1;    ///< >= 0: no expert gets more from a rank (dropped beyond)
  std::shared_ptr<const DeclaredRouting> declared;  ///< on `sim`: what all ranks of the group chose
};

enum class DispatcherKind {
  kReference,  ///< every rank sees every row: the oracle of the others
  kAllGather,
  kAllToAll,
  kDeepEp,   ///< flex: a token crosses to a node once
  kHybridEp  ///< flex: the same in chunks, whose crossing and spreading overlap
};

struct DispatchConfig {
  DispatcherKind kind = DispatcherKind::kAllGather;
  int64_t chunks = 4;           ///< kHybridEp
  bool overlap_shared = false;  ///< the shared expert runs while rows travel
};

/// One crossing of the group: its name in diagnostics, and work of this rank that may run while rows travel (no
/// collectives of the experts' groups): then they travel on a side stream.
struct Trip {
  const char* name = "rows";
  std::function<void()> meanwhile;
};

/// Where the rows of one routing go. P rows reach this rank, sorted by expert held here (n of them), inside an expert
/// by source rank (ETP position, then EP position), of one source in order of tokens: the same for all dispatchers.
/// Members of a group call the same functions in the same order.
class DispatchPlan {
 public:
  virtual ~DispatchPlan() = default;

  /// x [T,W] of any dtype -> [P,W]; fillers of a padded capacity are zeros. Once per tensor of a payload: rows, scales.
  virtual Tensor to_experts(const Context& context, const Tensor& x, const Trip& trip) const = 0;
  /// rows [P,W] f32 or bf16 -> [T,W]: the sum of each token's rows, over its choices and over ETP.
  virtual Tensor to_tokens(const Context& context, const Tensor& rows, const Trip& trip) const = 0;
  /// values [P] f32 -> [T,K] in the dtype of the probabilities: each choice's value, summed over ETP; 0 where dropped.
  virtual Tensor choices_to_tokens(const Context& context, const Tensor& values) const = 0;
  /// Whether nothing leaves this rank: then rows are a copy of the input, made again at no cost of traffic.
  virtual bool stays_here() const { return false; }

  const Tensor& offsets() const { return offsets_; }        ///< [n+1] i64
  const Tensor& row_weight() const { return row_weight_; }  ///< [P] f32, probability of each row

 protected:
  Tensor offsets_, row_weight_;
};

/// Exchanges what must be known before rows can travel. One rank alone: no exchange, no host read.
std::shared_ptr<const DispatchPlan> plan_dispatch(const Context& context, const DispatchConfig& config,
                                                  const Routing& routing);

}  // namespace conclave

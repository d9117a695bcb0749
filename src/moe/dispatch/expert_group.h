// The ranks that share a layer's experts (ETP x EP) and what this one holds of them.
#pragma once

#include <vector>

#include "nn/context.h"

namespace conclave {

class ExpertGroup {
 public:
  /// EP must divide `experts`.
  ExpertGroup(ProcessGroups& groups, int64_t experts);

  ProcessGroups& groups() const { return *groups_; }
  const Slice& expert() const { return expert_; }  ///< EP
  const Slice& tensor() const { return tensor_; }  ///< ETP
  int64_t ranks() const { return expert_.size * tensor_.size; }
  int64_t experts() const { return experts_; }               ///< E
  int64_t held() const { return expert_.share(experts_); }   ///< n = E / EP
  int64_t first() const { return expert_.begin(experts_); }  ///< expert number of the first one held
  int64_t owner(int64_t e) const { return e / held(); }      ///< EP position
  /// Number of a rank as a source of rows: ETP position first, then EP position; of this rank.
  int64_t source() const { return tensor_.rank * expert_.size + expert_.rank; }
  /// Ranks of the world in order of source().
  std::vector<int64_t> world_ranks() const;
  Communicator& expert_ranks() const { return groups_->of(GroupKind::kExpert); }
  Communicator& tensor_ranks() const { return groups_->of(GroupKind::kExpertTensor); }

  /// x [N,...] of every rank -> [R*N, W], by source.
  Tensor gather(const Context& context, const Tensor& x, const char* name) const;
  /// x [R*N,W] by source -> [N,W]: the sum over all ranks of this source's part; over ETP first, then EP, in rank
  /// order.
  Tensor sum_own(const Context& context, const Tensor& x, const char* name) const;

  /// [E] i32: number of an expert among those held here, or -1.
  Tensor local_numbers(const Context& context) const;

 private:
  ProcessGroups* groups_;
  Slice expert_, tensor_;
  int64_t experts_;
};

}  // namespace conclave

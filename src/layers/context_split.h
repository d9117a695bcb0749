// How one rank's share of a sequence is laid out under context parallelism, and the exchanges that change it. The
// sequence is cut into 2*CP equal chunks and rank r has chunks r and 2*CP-1-r, so that causal work is balanced. An
// exchange of heads (Jacobs et al. 2023) over `inner` ranks trades positions for heads; what then remains is spread
// over `outer` ranks.
#pragma once

#include <vector>

#include "nn/context.h"

namespace conclave {

/// Neighbouring positions.
struct SequenceRun {
  int64_t position = 0, size = 0;
};

class ContextSplit {
 public:
  ContextSplit(const Context& context, ContextExchange kind);

  int64_t outer_size() const { return outer_; }
  int64_t outer_rank() const { return outer_rank_; }
  Communicator& outer_group() const;
  int64_t sequence() const { return 2 * ranks_ * chunk_; }  ///< S of the whole

  /// What a rank of the outer group has after the exchange of heads: everything, or two runs of equal size.
  std::vector<SequenceRun> runs(int64_t outer_rank) const;
  /// x [B,h,S',D] of this rank's positions -> for each run [B,h/inner,run,D].
  std::vector<Tensor> spread_heads(const Tensor& x) const;
  Tensor collect_heads(const std::vector<Tensor>& runs) const;
  /// x [S',B,h*D] -> for each run [run,B,h/inner*D].
  std::vector<Tensor> spread_rows(const Tensor& x, int64_t heads) const;
  Tensor collect_rows(const std::vector<Tensor>& runs, int64_t heads) const;
  /// Runs of every outer rank [B,h,run,D] -> the whole sequence [B,h,S,D]; and its gradient: summed, this rank's runs.
  Tensor gather(const std::vector<Tensor>& runs) const;
  std::vector<Tensor> reduce_scatter(const Tensor& whole) const;
  /// Columns of a run of x [B,S]: [B,run].
  Tensor columns_of_run(const Tensor& x, const SequenceRun& run) const;

 private:
  const Context& context_;
  int64_t ranks_, inner_, outer_, inner_rank_, outer_rank_;
  int64_t chunk_;  ///< positions of a chunk

  Communicator& inner_group() const;
  Tensor swapped(const Tensor& x, int64_t a, int64_t b) const;
  Tensor exchanged(const Tensor& x) const;
  Tensor run_buffer(const std::vector<int64_t>& chunk_shape, DType dtype) const;
  int64_t place(int64_t inner_rank, int64_t half) const;
};

}  // namespace conclave

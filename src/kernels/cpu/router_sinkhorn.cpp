#include "kernels/router_sinkhorn.h"

#include "kernels/cpu/router_rows.h"

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(router_sinkhorn, RouterSinkhornArgs)
CONCLAVE_KERNEL_BACKENDS(router_sinkhorn_backward, RouterSinkhornBackwardArgs)

namespace cpu {
namespace {

/// cost [T,E] = e^logits and the two vectors of factors, in one block of memory.
template <typename M>
class BalancedMatrix {
 public:
  BalancedMatrix(const Tensor& workspace, int64_t tokens, int64_t experts)
      : tokens_(tokens),
        experts_(experts),
        cost_(workspace.data<M>()),
        d0_(cost_ + tokens * experts),
        d1_(d0_ + tokens),
        partial_(d1_ + experts) {}

  template <typename L>
  void fill(const L* logits) {
#pragma omp parallel for schedule(static) if (tokens_ * experts_ >= kRouterParallelElements)
    for (int64_t t = 0; t < tokens_; ++t) {
      load_row(logits + t * experts_, experts_, cost_ + t * experts_);
      exp_row(cost_ + t * experts_, experts_, M{0});
    }
    std::fill(d1_, d1_ + experts_, M{1});
  }

  void balance() {
    if (tokens_ == 0) return;
    for (int64_t i = 0; i < kSinkhornIterations; ++i)
      if (!(iterate() > 1e-4)) return;
  }

  void row(int64_t t, M* out) const {
    for (int64_t e = 0; e < experts_; ++e) out[e] = d1_[e] * cost_[t * experts_ + e] * d0_[t];
  }

 private:
  /// One round; returns mean |d1 - d1_old|. Column sums go over fixed blocks of rows, so threads do not change them.
  double iterate() {
#pragma omp parallel for schedule(static) if (tokens_ * experts_ >= kRouterParallelElements)
    for (int64_t block = 0; block < kSinkhornBlocks; ++block) {
      M* sums = partial_ + block * experts_;
      std::fill(sums, sums + experts_, M{0});
      for (int64_t t = block * tokens_ / kSinkhornBlocks; t < (block + 1) * tokens_ / kSinkhornBlocks; ++t) {
        const M* cost = cost_ + t * experts_;
        M sum = 0;
        for (int64_t e = 0; e < experts_; ++e) sum += d1_[e] * cost[e];
        d0_[t] = M{1} / static_cast<M>(tokens_) / (sum + M{1e-8});
        for (int64_t e = 0; e < experts_; ++e) sums[e] += d0_[t] * cost[e];
      }
    }
    double change = 0;
    for (int64_t e = 0; e < experts_; ++e) {
      M sum = 0;
      for (int64_t block = 0; block < kSinkhornBlocks; ++block) sum += partial_[block * experts_ + e];
      const M next = M{1} / static_cast<M>(experts_) / (sum + M{1e-8});
      change += std::fabs(static_cast<double>(next - d1_[e]));
      d1_[e] = next;
    }
    return change / static_cast<double>(experts_);
  }

  int64_t tokens_, experts_;
  M *cost_, *d0_, *d1_, *partial_;
};

/// Activation of a row in the type it is computed in: sigmoid stays in the logits' precision.
template <typename L, typename M>
void activation_row(const L* logits, int64_t count, int64_t topk, ProbsOf<L>* out) {
  if (topk == 1) {
    for (int64_t e = 0; e < count; ++e)
      out[e] = round_to_logits<L>(sigmoid_value(load_element<L, LogitsMath<L>>(logits[e])));
    return;
  }
  std::vector<M> row(static_cast<size_t>(count));
  load_row(logits, count, row.data());
  softmax_row(row.data(), count);
  for (int64_t e = 0; e < count; ++e) out[e] = round_to_logits<L>(row[static_cast<size_t>(e)]);
}

template <typename Key>
void choose_plainly(std::vector<Key>& keys, int64_t topk, int32_t* experts) {
  for (Key& key : keys) key = choice_key(key);
  select_top(keys.data(), static_cast<int64_t>(keys.size()), topk, experts);
}

template <typename L, typename M>
void forward(const RouterSinkhornArgs& args) {
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1), topk = args.topk;
  const L* logits = args.logits.data<L>();
  BalancedMatrix<M> matrix(args.workspace, tokens, experts);
  if (args.balance) {
    matrix.fill(logits);
    matrix.balance();
  }
#pragma omp parallel if (tokens * experts >= kRouterParallelElements)
  {
    std::vector<ProbsOf<L>> activation(static_cast<size_t>(experts)), activation_keys;
    std::vector<M> balanced(static_cast<size_t>(experts));
#pragma omp for schedule(static)
    for (int64_t t = 0; t < tokens; ++t) {
      int32_t* chosen = args.experts.data<int32_t>() + t * topk;
      activation_row<L, M>(logits + t * experts, experts, topk, activation.data());
      if (args.balance) {
        matrix.row(t, balanced.data());
        choose_plainly(balanced, topk, chosen);
      } else {
        activation_keys = activation;
        choose_plainly(activation_keys, topk, chosen);
      }
      ProbsOf<L>* probs = args.probs.data<ProbsOf<L>>() + t * topk;
      for (int64_t k = 0; k < topk; ++k) probs[k] = activation[static_cast<size_t>(chosen[k])];
    }
  }
}

template <typename M>
void softmax_gradient(std::vector<M>& row, const std::vector<M>& dscores) {
  M dot = 0;
  for (size_t e = 0; e < row.size(); ++e) dot += row[e] * dscores[e];
  for (size_t e = 0; e < row.size(); ++e) row[e] *= dscores[e] - dot;
}

template <typename L, typename M>
void backward(const RouterSinkhornBackwardArgs& args) {
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1), topk = args.experts.size(1);
#pragma omp parallel if (tokens * experts >= kRouterParallelElements)
  {
    std::vector<M> row(static_cast<size_t>(experts)), dscores(static_cast<size_t>(experts));
#pragma omp for schedule(static)
    for (int64_t t = 0; t < tokens; ++t) {
      const L* logits = args.logits.data<L>() + t * experts;
      const int32_t* chosen = args.experts.data<int32_t>() + t * topk;
      const ProbsOf<L>* dprobs = args.dprobs.data<ProbsOf<L>>() + t * topk;
      std::fill(dscores.begin(), dscores.end(), M{0});
      for (int64_t k = 0; k < topk; ++k) dscores[static_cast<size_t>(chosen[k])] += static_cast<M>(dprobs[k]);
      load_row(logits, experts, row.data());
      if (topk == 1) {
        for (size_t e = 0; e < row.size(); ++e) {
          const M s = sigmoid_value(row[e]);
          row[e] = dscores[e] * s * (M{1} - s);
        }
      } else {
        softmax_row(row.data(), experts);
        softmax_gradient(row, dscores);
      }
      L* dlogits = args.dlogits.data<L>() + t * experts;
      for (int64_t e = 0; e < experts; ++e) store_gradient(dlogits + e, row[static_cast<size_t>(e)], args.accumulate);
    }
  }
}

}  // namespace

void router_sinkhorn(const Stream&, const RouterSinkhornArgs& args) {
  with_logits(args.logits.dtype(), args.f64_scores,
              [&](auto element, auto math) { forward<decltype(element), decltype(math)>(args); });
}

void router_sinkhorn_backward(const Stream&, const RouterSinkhornBackwardArgs& args) {
  // The gradient of a sigmoid in the logits' precision is that precision's own.
  const bool f64 = args.f64_scores || (args.logits.dtype() == DType::kF64 && args.experts.size(1) == 1);
  with_logits(args.logits.dtype(), f64,
              [&](auto element, auto math) { backward<decltype(element), decltype(math)>(args); });
}

}  // namespace cpu
}  // namespace conclave::kernels

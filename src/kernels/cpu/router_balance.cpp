#include "kernels/router_balance.h"

#include "kernels/cpu/router_rows.h"

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(balance_scores, BalanceScoresArgs)
CONCLAVE_KERNEL_BACKENDS(running_counts, RunningCountsArgs)
CONCLAVE_KERNEL_BACKENDS(balance_loss, BalanceLossArgs)
CONCLAVE_KERNEL_BACKENDS(balance_backward, BalanceBackwardArgs)
CONCLAVE_KERNEL_BACKENDS(expert_bias_update, ExpertBiasUpdateArgs)

namespace cpu {
namespace {

/// Scores of the balancing losses in place; returns what sigmoid and sqrtsoftplus were divided by.
template <typename M>
M balance_row(ScoreFunction score, M* row, int64_t count) {
  score_row(score, row, count);
  if (score == ScoreFunction::kSoftmax) return M{1};
  M sum = 0;
  for (int64_t e = 0; e < count; ++e) sum += row[e];
  sum += M{1e-20};
  for (int64_t e = 0; e < count; ++e) row[e] /= sum;
  return sum;
}

/// What one thread needs to walk rows of one sequence in one block.
template <typename L, typename M>
class ScoreBlock {
 public:
  explicit ScoreBlock(const BalanceScoresArgs& args)
      : args_(args),
        experts_(args.logits.size(1)),
        row_(static_cast<size_t>(experts_)),
        chosen_(static_cast<size_t>(args.rule.topk)) {}

  /// Rows s in [begin, end) of sequence b, into sums [E] and counts [E].
  void run(int64_t begin, int64_t end, int64_t b, double* sums, double* counts) {
    std::fill(sums, sums + experts_, 0.0);
    std::fill(counts, counts + experts_, 0.0);
    for (int64_t s = begin; s < end; ++s) {
      const int64_t t = s * args_.batch + b;
      if (is_padding(args_.padding, t)) {
        std::fill(row_.begin(), row_.end(), M{0});
        look(t);
        continue;
      }
      load_row(args_.logits.data<L>() + t * experts_, experts_, row_.data());
      balance_row(args_.rule.score, row_.data(), experts_);
      for (int64_t e = 0; e < experts_; ++e) sums[e] += static_cast<double>(row_[static_cast<size_t>(e)]);
      look(t);
      for (M& value : row_) value = choice_key(value);
      select_top(row_.data(), experts_, args_.rule.topk, chosen_.data());
      for (const int32_t e : chosen_) counts[e] += 1;
      look_at_choice(t);
    }
  }

 private:
  void look(int64_t t) {
    if (args_.scores.defined()) std::copy(row_.begin(), row_.end(), args_.scores.data<M>() + t * experts_);
    if (args_.map.defined()) std::fill_n(args_.map.data<uint8_t>() + t * experts_, experts_, uint8_t{0});
  }
  void look_at_choice(int64_t t) {
    if (!args_.map.defined()) return;
    for (const int32_t e : chosen_) args_.map.data<uint8_t>()[t * experts_ + e] = 1;
  }

  const BalanceScoresArgs& args_;
  int64_t experts_;
  std::vector<M> row_;
  std::vector<int32_t> chosen_;
};

template <typename L, typename M>
void scores(const BalanceScoresArgs& args) {
  const int64_t experts = args.logits.size(1), length = args.logits.size(0) / args.batch;
  const int64_t blocks = args.workspace.size(0), width = args.batch * experts;
  // [blocks, 2, B, E]: sums and counts of each block.
  double* partial = args.workspace.data<double>();
#pragma omp parallel if (args.logits.element_count() >= kRouterParallelElements)
  {
    ScoreBlock<L, M> rows(args);
#pragma omp for schedule(static)
    for (int64_t item = 0; item < blocks * args.batch; ++item) {
      const int64_t block = item / args.batch, b = item % args.batch;
      double* sums = partial + 2 * block * width + b * experts;
      rows.run(block * length / blocks, (block + 1) * length / blocks, b, sums, sums + width);
    }
  }
  double* score_sums = args.score_sums.data<double>();
  float* counts = args.counts.data<float>();
  for (int64_t i = 0; i < width; ++i) {
    double sum = 0, count = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      sum += partial[2 * block * width + i];
      count += partial[(2 * block + 1) * width + i];
    }
    score_sums[i] = sum;
    counts[i] = static_cast<float>(count);
  }
}

/// Loss over columns and its slope by a score, both without the factor E / (K n²).
struct LossTerms {
  double loss = 0;
  std::vector<double> slope;  // [B,E]
};

LossTerms loss_terms(const BalanceLossArgs& args) {
  const int64_t batch = args.counts.size(0), experts = args.counts.size(1);
  const float* counts = args.counts.data<float>();
  const double* sums = args.score_sums.data<double>();
  LossTerms terms;
  terms.slope.resize(static_cast<size_t>(batch * experts));
  for (int64_t e = 0; e < experts; ++e) {
    double whole = 0;
    for (int64_t b = 0; b < batch; ++b) whole += static_cast<double>(counts[b * experts + e]);
    if (args.kind == BalanceKind::kGlobal)
      whole = static_cast<double>(args.running.data<float>()[e] / static_cast<float>(args.running_steps));
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t i = b * experts + e;
      const double count = args.kind == BalanceKind::kSequence ? static_cast<double>(counts[i]) : whole;
      terms.loss += sums[i] * count;
      terms.slope[static_cast<size_t>(i)] = count;
    }
  }
  return terms;
}

template <typename L, typename M>
void gradient(const BalanceBackwardArgs& args) {
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1);
  const ScoreFunction score = args.rule.score;
#pragma omp parallel if (tokens * experts >= kRouterParallelElements)
  {
    std::vector<M> x(static_cast<size_t>(experts)), p(static_cast<size_t>(experts)),
        slope(static_cast<size_t>(experts));
#pragma omp for schedule(static)
    for (int64_t t = 0; t < tokens; ++t) {
      if (is_padding(args.padding, t)) continue;
      load_row(args.logits.data<L>() + t * experts, experts, x.data());
      p = x;
      const M divisor = balance_row(score, p.data(), experts);
      const double* slopes = args.slope.data<double>() + t % args.batch * experts;
      M dot = 0;
      for (int64_t e = 0; e < experts; ++e) {
        const auto i = static_cast<size_t>(e);
        slope[i] = static_cast<M>(slopes[e]);
        dot += p[i] * slope[i];
      }
      L* dlogits = args.dlogits.data<L>() + t * experts;
      for (int64_t e = 0; e < experts; ++e) {
        const auto i = static_cast<size_t>(e);
        const M centred = slope[i] - dot;
        const M value = score == ScoreFunction::kSoftmax ? p[i] * centred
                                                         : centred / divisor * score_slope(score, x[i], p[i] * divisor);
        store_gradient(dlogits + e, value, Accumulate::kAdd);
      }
    }
  }
}

}  // namespace

void balance_scores(const Stream&, const BalanceScoresArgs& args) {
  with_logits(args.logits.dtype(), args.rule.f64_scores,
              [&](auto element, auto math) { scores<decltype(element), decltype(math)>(args); });
}

void running_counts(const Stream&, const RunningCountsArgs& args) {
  const int64_t batch = args.counts.size(0), experts = args.counts.size(1);
  for (int64_t e = 0; e < experts; ++e) {
    double sum = args.previous.defined() ? static_cast<double>(args.previous.data<float>()[e]) : 0.0;
    for (int64_t b = 0; b < batch; ++b) sum += static_cast<double>(args.counts.data<float>()[b * experts + e]);
    args.total.data<float>()[e] = static_cast<float>(sum);
  }
}

void balance_loss(const Stream&, const BalanceLossArgs& args) {
  const int64_t batch = args.counts.size(0), experts = args.counts.size(1);
  double choices = 0;
  for (int64_t i = 0; i < batch * experts; ++i) choices += static_cast<double>(args.counts.data<float>()[i]);
  const double tokens = choices / static_cast<double>(args.topk);
  const bool by_sequence = args.kind == BalanceKind::kSequence;
  const double length = by_sequence ? tokens / static_cast<double>(batch) : tokens;
  double factor = 0;
  if (tokens > 0)
    factor = static_cast<double>(experts) / (static_cast<double>(args.topk) * length * length) /
             (by_sequence ? static_cast<double>(batch) : 1.0);
  const LossTerms terms = loss_terms(args);
  const double plain = factor * terms.loss;
  put_scalar(args.loss, args.coefficient * plain);
  if (args.logged.defined()) *args.logged.data<double>() += plain;
  if (!args.slope.defined()) return;
  const double scale = args.gradient_scale * args.coefficient * factor;
  double* slope = args.slope.data<double>();
  for (size_t i = 0; i < terms.slope.size(); ++i) slope[i] += scale * terms.slope[i];
}

void balance_backward(const Stream&, const BalanceBackwardArgs& args) {
  with_logits(args.logits.dtype(), args.rule.f64_scores,
              [&](auto element, auto math) { gradient<decltype(element), decltype(math)>(args); });
}

void expert_bias_update(const Stream&, const ExpertBiasUpdateArgs& args) {
  const int64_t experts = args.counts.element_count();
  const float* counts = args.counts.data<float>();
  double sum = 0;
  for (int64_t e = 0; e < experts; ++e) sum += static_cast<double>(counts[e]);
  const double mean = sum / static_cast<double>(experts);
  for (int64_t e = 0; e < experts; ++e) {
    const double off = mean - static_cast<double>(counts[e]);
    const float sign = off > 0 ? 1.0f : off < 0 ? -1.0f : 0.0f;
    args.bias.data<float>()[e] += static_cast<float>(args.rate) * sign;
  }
}

}  // namespace cpu
}  // namespace conclave::kernels

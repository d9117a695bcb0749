#include "kernels/router_topk.h"

#include "kernels/cpu/router_rows.h"

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(router_topk, RouterTopkArgs)
CONCLAVE_KERNEL_BACKENDS(router_topk_backward, RouterTopkBackwardArgs)

namespace cpu {
namespace {

bool chooses_by_logits(const RouterRule& rule) { return rule.score == ScoreFunction::kSoftmax && !rule.pre_softmax; }

/// Probabilities of the chosen experts without the scaling factor: values [K] = raw logits or scores, in place.
/// Returns what they were divided by.
template <typename M>
M normalise_chosen(const RouterRule& rule, M* values) {
  if (chooses_by_logits(rule)) {
    softmax_row(values, rule.topk);
    return M{1};
  }
  if (!rule.normalises()) return M{1};
  M sum = 0;
  for (int64_t k = 0; k < rule.topk; ++k) sum += values[k];
  sum += M{1e-20};
  for (int64_t k = 0; k < rule.topk; ++k) values[k] /= sum;
  return sum;
}

/// One thread's memory for rows of [E] and [K].
template <typename L, typename M>
class ForwardRow {
 public:
  ForwardRow(const RouterTopkArgs& args)
      : args_(args),
        experts_count_(args.logits.size(1)),
        row_(static_cast<size_t>(experts_count_)),
        values_(static_cast<size_t>(args.rule.topk)),
        score_keys_(static_cast<size_t>(experts_count_)),
        logit_keys_(static_cast<size_t>(experts_count_)),
        score_scratch_(args.rule),
        logit_scratch_(args.rule) {}

  void run(int64_t t) {
    const RouterRule& rule = args_.rule;
    const L* logits = args_.logits.data<L>() + t * experts_count_;
    int32_t* experts = args_.experts.data<int32_t>() + t * rule.topk;
    load_row(logits, experts_count_, row_.data());
    if (!chooses_by_logits(rule)) score_row(rule.score, row_.data(), experts_count_);
    if (args_.forced.defined()) {
      const int32_t* forced = args_.forced.data<int32_t>() + t * rule.topk;
      std::copy(forced, forced + rule.topk, experts);
    } else if (chooses_by_logits(rule)) {
      choose_by_logits(logits, experts);
    } else {
      choose_by_scores(experts);
    }
    for (int64_t k = 0; k < rule.topk; ++k) values_[static_cast<size_t>(k)] = row_[static_cast<size_t>(experts[k])];
    normalise_chosen(rule, values_.data());
    ProbsOf<L>* probs = args_.probs.data<ProbsOf<L>>() + t * rule.topk;
    const M factor = rule.scaling_factor != 0 ? static_cast<M>(rule.scaling_factor) : M{1};
    for (int64_t k = 0; k < rule.topk; ++k) probs[k] = round_to_logits<L>(values_[static_cast<size_t>(k)] * factor);
  }

 private:
  void choose_by_logits(const L* logits, int32_t* experts) {
    for (int64_t e = 0; e < experts_count_; ++e)
      logit_keys_[static_cast<size_t>(e)] = choice_key(load_element<L, LogitsMath<L>>(logits[e]));
    choose(args_.rule, logit_keys_.data(), experts_count_, logit_scratch_, std::is_same_v<L, BF16>, experts);
  }
  void choose_by_scores(int32_t* experts) {
    const float* bias = args_.bias.defined() ? args_.bias.data<float>() : nullptr;
    for (size_t e = 0; e < row_.size(); ++e)
      score_keys_[e] = choice_key(bias != nullptr ? row_[e] + static_cast<M>(bias[e]) : row_[e]);
    choose(args_.rule, score_keys_.data(), experts_count_, score_scratch_, false, experts);
  }

  const RouterTopkArgs& args_;
  int64_t experts_count_;
  std::vector<M> row_, values_, score_keys_;
  std::vector<LogitsMath<L>> logit_keys_;
  ChoiceScratch<M> score_scratch_;
  ChoiceScratch<LogitsMath<L>> logit_scratch_;
};

template <typename L, typename M>
class BackwardRow {
 public:
  BackwardRow(const RouterTopkBackwardArgs& args)
      : args_(args),
        experts_count_(args.logits.size(1)),
        row_(static_cast<size_t>(experts_count_)),
        gradient_(static_cast<size_t>(experts_count_)),
        values_(static_cast<size_t>(args.rule.topk)),
        dprobs_(static_cast<size_t>(args.rule.topk)) {}

  void run(int64_t t) {
    const RouterRule& rule = args_.rule;
    const L* logits = args_.logits.data<L>() + t * experts_count_;
    const int32_t* experts = args_.experts.data<int32_t>() + t * rule.topk;
    load_dprobs(t);
    std::fill(gradient_.begin(), gradient_.end(), M{0});
    if (rule.score == ScoreFunction::kSoftmax && rule.pre_softmax) {
      through_whole_softmax(logits, experts);
    } else {
      through_chosen(logits, experts);
    }
    L* dlogits = args_.dlogits.data<L>() + t * experts_count_;
    for (int64_t e = 0; e < experts_count_; ++e)
      store_gradient(dlogits + e, gradient_[static_cast<size_t>(e)], args_.accumulate);
  }

 private:
  void load_dprobs(int64_t t) {
    const RouterRule& rule = args_.rule;
    const ProbsOf<L>* dprobs = args_.dprobs.data<ProbsOf<L>>() + t * rule.topk;
    const int32_t* kept = args_.kept.defined() ? args_.kept.data<int32_t>() + t * rule.topk : nullptr;
    const M factor = rule.scaling_factor != 0 ? static_cast<M>(rule.scaling_factor) : M{1};
    for (int64_t k = 0; k < rule.topk; ++k)
      dprobs_[static_cast<size_t>(k)] = kept != nullptr && kept[k] < 0 ? M{0} : static_cast<M>(dprobs[k]) * factor;
  }
  void through_whole_softmax(const L* logits, const int32_t* experts) {
    load_row(logits, experts_count_, row_.data());
    softmax_row(row_.data(), experts_count_);
    M dot = 0;
    for (size_t k = 0; k < dprobs_.size(); ++k) dot += row_[static_cast<size_t>(experts[k])] * dprobs_[k];
    for (size_t k = 0; k < dprobs_.size(); ++k) gradient_[static_cast<size_t>(experts[k])] += dprobs_[k];
    for (size_t e = 0; e < row_.size(); ++e) gradient_[e] = row_[e] * (gradient_[e] - dot);
  }
  /// Softmax over the chosen logits, or elementwise scores with their normalisation: other experts get nothing.
  void through_chosen(const L* logits, const int32_t* experts) {
    const RouterRule& rule = args_.rule;
    const bool raw = chooses_by_logits(rule);
    for (size_t k = 0; k < values_.size(); ++k) row_[k] = load_element<L, M>(logits[experts[k]]);
    std::copy(row_.begin(), row_.begin() + rule.topk, values_.begin());
    if (!raw) score_row(rule.score, values_.data(), rule.topk);
    scores_ = values_;
    const M divisor = normalise_chosen(rule, values_.data());
    M dot = 0;
    if (rule.normalises() || raw)
      for (size_t k = 0; k < values_.size(); ++k) dot += values_[k] * dprobs_[k];
    for (size_t k = 0; k < values_.size(); ++k) {
      const M centred = dprobs_[k] - dot;
      gradient_[static_cast<size_t>(experts[k])] =
          raw ? values_[k] * centred : centred / divisor * score_slope(rule.score, row_[k], scores_[k]);
    }
  }

  const RouterTopkBackwardArgs& args_;
  int64_t experts_count_;
  std::vector<M> row_, gradient_, values_, dprobs_, scores_;
};

/// Runs Row<L,M>(args).run(t) for every token; rows are independent.
template <template <typename, typename> class Row, typename Args>
void for_each_row(const Args& args) {
  const int64_t tokens = args.logits.size(0);
  with_logits(args.logits.dtype(), args.rule.f64_scores, [&](auto element, auto math) {
#pragma omp parallel if (tokens * args.logits.size(1) >= kRouterParallelElements)
    {
      Row<decltype(element), decltype(math)> row(args);
#pragma omp for schedule(static)
      for (int64_t t = 0; t < tokens; ++t) row.run(t);
    }
  });
}

}  // namespace

void router_topk(const Stream&, const RouterTopkArgs& args) { for_each_row<ForwardRow>(args); }
void router_topk_backward(const Stream&, const RouterTopkBackwardArgs& args) { for_each_row<BackwardRow>(args); }

}  // namespace cpu
}  // namespace conclave::kernels

#include "kernels/router_z_loss.h"

#include "kernels/cpu/router_rows.h"

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(z_loss, ZLossArgs)
CONCLAVE_KERNEL_BACKENDS(z_loss_backward, ZLossBackwardArgs)

namespace cpu {
namespace {

int64_t valid_rows(const Tensor& padding, int64_t tokens) {
  if (!padding.defined()) return tokens;
  return std::count(padding.data<uint8_t>(), padding.data<uint8_t>() + tokens, uint8_t{0});
}

/// logsumexp of `logits`; row becomes e^(logits - lse).
template <typename L>
LogitsMath<L> log_sum_exp(const L* logits, int64_t count, std::vector<LogitsMath<L>>& row) {
  using M = LogitsMath<L>;
  load_row(logits, count, row.data());
  const M top = largest(row.data(), count);
  const M sum = exp_row(row.data(), count, top);
  for (M& value : row) value /= sum;
  return top + std::log(sum);
}

/// logsumexp(logits)² with every step in the logits' precision.
template <typename L>
double squared_log_sum_exp(const L* logits, int64_t count, std::vector<LogitsMath<L>>& row) {
  if constexpr (!std::is_same_v<L, BF16>) {
    const LogitsMath<L> lse = log_sum_exp(logits, count, row);
    return static_cast<double>(lse * lse);
  } else {
    const auto rounded = [](float value) { return round_to_logits<BF16>(value); };
    load_row(logits, count, row.data());
    const float top = largest(row.data(), count);
    float sum = 0;
    for (const float value : row) sum += rounded(std::exp(rounded(value - top)));
    const float lse = rounded(rounded(std::log(rounded(sum))) + top);
    return static_cast<double>(rounded(lse * lse));
  }
}

template <typename L>
double rounded(double value) {
  return static_cast<double>(round_to_logits<L>(static_cast<LogitsMath<L>>(value)));
}

template <typename L>
void forward(const ZLossArgs& args) {
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1), blocks = args.workspace.size(0);
  double* partial = args.workspace.data<double>();
#pragma omp parallel if (tokens * experts >= kRouterParallelElements)
  {
    std::vector<LogitsMath<L>> row(static_cast<size_t>(experts));
#pragma omp for schedule(static)
    for (int64_t block = 0; block < blocks; ++block) {
      partial[block] = 0;
      for (int64_t t = block * tokens / blocks; t < (block + 1) * tokens / blocks; ++t)
        if (!is_padding(args.padding, t))
          partial[block] += squared_log_sum_exp(args.logits.data<L>() + t * experts, experts, row);
    }
  }
  double sum = 0;
  for (int64_t block = 0; block < blocks; ++block) sum += partial[block];
  const auto valid = static_cast<double>(valid_rows(args.padding, tokens));
  if (args.padding.defined()) sum = rounded<L>(sum);
  const double mean = rounded<L>(sum / std::max(valid, 1.0));
  const double loss = rounded<L>(mean * args.coefficient);
  put_scalar(args.loss, loss);
  if (args.logged.defined()) *args.logged.data<double>() += rounded<L>(loss / args.coefficient);
}

template <typename L>
void backward(const ZLossBackwardArgs& args) {
  using M = LogitsMath<L>;
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1);
  const auto valid = static_cast<double>(valid_rows(args.padding, tokens));
  const M scale = static_cast<M>(2 * args.gradient_scale * args.coefficient / std::max(valid, 1.0));
#pragma omp parallel if (tokens * experts >= kRouterParallelElements)
  {
    std::vector<M> row(static_cast<size_t>(experts));
#pragma omp for schedule(static)
    for (int64_t t = 0; t < tokens; ++t) {
      if (is_padding(args.padding, t)) continue;
      const M lse = log_sum_exp(args.logits.data<L>() + t * experts, experts, row);
      L* dlogits = args.dlogits.data<L>() + t * experts;
      for (int64_t e = 0; e < experts; ++e)
        store_gradient(dlogits + e, scale * lse * row[static_cast<size_t>(e)], Accumulate::kAdd);
    }
  }
}

/// Calls body(L{}): everything here is in the logits' own precision.
template <typename Body>
void with_own_precision(DType logits, Body body) {
  with_logits(logits, false, [&](auto element, auto) { body(element); });
}

}  // namespace

void z_loss(const Stream&, const ZLossArgs& args) {
  with_own_precision(args.logits.dtype(), [&](auto element) { forward<decltype(element)>(args); });
}

void z_loss_backward(const Stream&, const ZLossBackwardArgs& args) {
  with_own_precision(args.logits.dtype(), [&](auto element) { backward<decltype(element)>(args); });
}

}  // namespace cpu
}  // namespace conclave::kernels

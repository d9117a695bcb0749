#include "kernels/router_z_loss.h"

#include "kernels/cpu/router_rows.h"

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(z_loss, ZLossArgs)
CONCLAVE_KERNEL_BACKENDS(z_loss_backward, ZLossBackwardArgs)

namespace cpu {
namespace {

/// Valid rows, at least 1.
template <typename Args>
double divisor_of(const Args& args) {
  if (args.mean_over.defined()) return std::max(args.mean_over.template data<double>()[0], 1.0);
  const int64_t tokens = args.logits.size(0);
  if (!args.padding.defined()) return static_cast<double>(std::max<int64_t>(tokens, 1));
  const auto* padding = args.padding.template data<uint8_t>();
  return static_cast<double>(std::max<int64_t>(std::count(padding, padding + tokens, uint8_t{0}), 1));
}

/// logsumexp of a row in the logits' precision, for bf16 with every step rounded; the row's logits are left in `row`.
template <typename L>
LogitsMath<L> log_sum_exp(const L* logits, int64_t count, std::vector<LogitsMath<L>>& row,
                          std::vector<LogitsMath<L>>& scratch) {
  load_row(logits, count, row.data());
  const LogitsMath<L> top = largest(row.data(), count);
  if constexpr (std::is_same_v<L, BF16>) {
    float sum = 0;
    for (const float value : row) sum += round_to_logits<L>(std::exp(round_to_logits<L>(value - top)));
    return round_to_logits<L>(round_to_logits<L>(std::log(round_to_logits<L>(sum))) + top);
  } else {
    scratch = row;
    return top + std::log(exp_row(scratch.data(), count, top));
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
    std::vector<LogitsMath<L>> row(static_cast<size_t>(experts)), scratch;
#pragma omp for schedule(static)
    for (int64_t block = 0; block < blocks; ++block) {
      partial[block] = 0;
      for (int64_t t = block * tokens / blocks; t < (block + 1) * tokens / blocks; ++t)
        if (!is_padding(args.padding, t)) {
          const LogitsMath<L> lse = log_sum_exp(args.logits.data<L>() + t * experts, experts, row, scratch);
          partial[block] += static_cast<double>(round_to_logits<L>(lse * lse));
        }
    }
  }
  double sum = 0;
  for (int64_t block = 0; block < blocks; ++block) sum += partial[block];
  if (args.padding.defined()) sum = rounded<L>(sum);
  const double mean = rounded<L>(sum / divisor_of(args));
  const double loss = rounded<L>(mean * args.coefficient);
  put_scalar(args.loss, loss);
  if (args.logged.defined()) *args.logged.data<double>() += rounded<L>(loss / args.coefficient);
}

template <typename L>
void backward(const ZLossBackwardArgs& args) {
  using M = LogitsMath<L>;
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1);
  const M scale = static_cast<M>(2 * args.gradient_scale * args.coefficient / divisor_of(args));
#pragma omp parallel if (tokens * experts >= kRouterParallelElements)
  {
    std::vector<M> row(static_cast<size_t>(experts)), scratch;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < tokens; ++t) {
      if (is_padding(args.padding, t)) continue;
      const M lse = log_sum_exp(args.logits.data<L>() + t * experts, experts, row, scratch);
      // The softmax is e^(x - lse): with a rounded lse its rows do not quite add up to 1.
      if constexpr (std::is_same_v<L, BF16>) {
        for (M& value : row) value = round_to_logits<L>(std::exp(round_to_logits<L>(value - lse)));
      } else {
        exp_row(row.data(), experts, lse);
      }
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

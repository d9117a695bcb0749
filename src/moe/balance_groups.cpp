#include "moe/balance_groups.h"

#include "kernels/elementwise.h"
#include "kernels/router_capacity.h"

namespace conclave {
namespace {

int64_t ranks_in(const Context& context, GroupKind kind) { return context.groups->layout().group_size(kind); }

BalanceSums sum_over(const Context& context, GroupKind kind, const BalanceSums& own) {
  if (ranks_in(context, kind) == 1) return own;
  const int64_t columns = own.counts.element_count();
  const Tensor both = context.empty({2, columns}, DType::kF64, "router.balance");
  kernels::cast(context.stream, {.x = own.counts, .y = both[0]});
  kernels::cast(context.stream, {.x = own.score_sums, .y = both[1]});
  context.groups->of(kind).all_reduce(context.stream, both, ReduceOp::kSum, "router.balance");
  const BalanceSums out{context.empty(own.counts.shape(), DType::kF32, "router.balance"),
                        both[1].view(own.score_sums.shape())};
  kernels::cast(context.stream, {.x = both[0], .y = out.counts});
  return out;
}

}  // namespace

BalanceSums sum_over_micro_batch(const Context& context, const BalanceSums& own) {
  return sum_over(context, GroupKind::kTensorContext, own);
}

BalanceSums sum_over_data(const Context& context, const BalanceSums& of_micro_batch) {
  return sum_over(context, GroupKind::kData, of_micro_batch);
}

int64_t data_ranks(const Context& context) { return ranks_in(context, GroupKind::kData); }

Tensor tokens_of_micro_batch(const Context& context, int64_t tokens) {
  const int64_t ranks = ranks_in(context, GroupKind::kTensorContext);
  if (ranks == 1) return {};
  const Tensor out = context.empty({1}, DType::kF64, "router.tokens");
  const Tensor& padding = context.batch.padding;
  kernels::fill(context.stream, {.x = out, .value = padding ? 0 : static_cast<double>(tokens * ranks)});
  if (!padding) return out;
  const Tensor one_expert = context.empty({tokens, 1}, DType::kI32, "router.tokens");
  kernels::fill(context.stream, {.x = one_expert, .value = 0});
  kernels::count_choices(context.stream, {.experts = one_expert, .padding = padding, .counts = out});
  context.groups->of(GroupKind::kTensorContext).all_reduce(context.stream, out, ReduceOp::kSum, "router.tokens");
  return out;
}

void sum_over_step(const Stream& stream, ProcessGroups& groups, const Tensor& x, const char* name) {
  if (groups.layout().group_size(GroupKind::kTensorDataContext) > 1)
    groups.of(GroupKind::kTensorDataContext).all_reduce(stream, x, ReduceOp::kSum, name);
}

}  // namespace conclave

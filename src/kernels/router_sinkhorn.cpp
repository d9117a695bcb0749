#include "kernels/router_sinkhorn.h"

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(router_sinkhorn, RouterSinkhornArgs)
CONCLAVE_KERNEL_BACKENDS(router_sinkhorn_backward, RouterSinkhornBackwardArgs)

void router_sinkhorn(const Stream& stream, const RouterSinkhornArgs& args) {
  const char* op = "router_sinkhorn";
  CONCLAVE_CHECK(args.logits.defined() && args.logits.rank() == 2, "[kernels/{}] logits must be [T,E]; got {}", op,
                 describe(args.logits));
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1);
  CONCLAVE_CHECK(1 <= args.topk && args.topk <= experts, "[kernels/{}] 1 <= K <= E; got K {} and E {}", op, args.topk,
                 experts);
  check_tensor(op, "experts", args.experts, {tokens, args.topk}, DType::kI32);
  check_tensor(op, "probs", args.probs, {tokens, args.topk}, router_probs_dtype(args.logits.dtype()));
  RouterSinkhornArgs full = args;
  if (args.balance)
    full.workspace =
        Tensor::empty(args.logits.device(), {tokens * experts + tokens + (1 + kSinkhornBlocks) * experts},
                      args.f64_scores ? DType::kF64 : DType::kF32, {MemoryCategory::kWorkspace, "router_sinkhorn"});
  CONCLAVE_KERNEL_DISPATCH(router_sinkhorn, stream, full);
}

Cost router_sinkhorn_cost(const RouterSinkhornArgs& args) {
  // How many rounds it takes stands in the data; ten are usual.
  const double rounds = args.balance ? 10 : 0;
  const double scores = static_cast<double>(args.logits.element_count());
  const double bytes = static_cast<double>(args.logits.bytes() + args.experts.bytes() + args.probs.bytes());
  return {(8 + 4 * rounds) * scores, bytes + 4 * (1 + rounds) * scores};
}

void router_sinkhorn_backward(const Stream& stream, const RouterSinkhornBackwardArgs& args) {
  const char* op = "router_sinkhorn_backward";
  CONCLAVE_CHECK(args.logits.defined() && args.logits.rank() == 2 && args.experts.rank() == 2,
                 "[kernels/{}] logits must be [T,E]; got {}", op, describe(args.logits));
  const Shape choices{args.logits.size(0), args.experts.size(1)};
  check_tensor(op, "experts", args.experts, choices, DType::kI32);
  check_tensor(op, "dprobs", args.dprobs, choices, router_probs_dtype(args.logits.dtype()));
  check_tensor(op, "dlogits", args.dlogits, args.logits.shape(), args.logits.dtype());
  CONCLAVE_KERNEL_DISPATCH(router_sinkhorn_backward, stream, args);
}

Cost router_sinkhorn_backward_cost(const RouterSinkhornBackwardArgs& args) {
  const double passes = args.accumulate == Accumulate::kAdd ? 3 : 2;
  return {8 * static_cast<double>(args.logits.element_count()),
          passes * static_cast<double>(args.logits.bytes()) +
              static_cast<double>(args.experts.bytes() + args.dprobs.bytes())};
}

}  // namespace conclave::kernels

#include "kernels/rope.h"

#include "kernels/rope_backend.h"

namespace conclave::kernels {

void rope(const Stream& stream, const RopeArgs& args) {
  const char* op = "rope";
  CONCLAVE_CHECK(
      args.x.defined() && args.x.rank() == 4 && (args.x.dtype() == DType::kF32 || args.x.dtype() == DType::kBF16),
      "[kernels/{}] x must be f32 or bf16 [B,n,S,D]; got {}", op, describe(args.x));
  check_tensor(op, "positions", args.positions, {args.x.size(0), args.x.size(2)}, DType::kI32);
  CONCLAVE_CHECK(args.frequencies.defined() && args.frequencies.rank() == 1, "[kernels/{}] frequencies must be [D'/2]",
                 op);
  const int64_t pairs = args.frequencies.size(0);
  check_tensor(op, "frequencies", args.frequencies, {pairs}, DType::kF32);
  CONCLAVE_CHECK(2 * pairs <= args.x.size(3) && pairs <= kRopeMostPairs,
                 "[kernels/{}] {} pairs rotate, but a head has {} elements, and at most {} pairs are allowed", op,
                 pairs, args.x.size(3), kRopeMostPairs);
  CONCLAVE_KERNEL_DISPATCH(rope, stream, args);
}

Cost rope_cost(const RopeArgs& args) {
  const double rotated = static_cast<double>(args.x.size(0) * args.x.size(1) * args.x.size(2)) * 2 *
                         static_cast<double>(args.frequencies.size(0));
  return {3 * rotated, 2 * rotated * static_cast<double>(dtype_size(args.x.dtype())) +
                           static_cast<double>(args.positions.bytes() + args.frequencies.bytes())};
}

}  // namespace conclave::kernels

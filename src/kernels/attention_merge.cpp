#include "kernels/attention_merge.h"

#include "kernels/attention_merge_backend.h"

namespace conclave::kernels {

void attention_merge(const Stream& stream, const AttentionMergeArgs& args) {
  const char* op = "attention_merge";
  CONCLAVE_CHECK(args.lse.defined() && args.lse.rank() == 3 && args.out.defined() && args.out.rank() == 3,
                 "[kernels/{}] out must be [S,B,n*Dv] and lse [B,n,S]; got {} and {}", op, describe(args.out),
                 describe(args.lse));
  const int64_t batch = args.lse.size(0), heads = args.lse.size(1), sequence = args.lse.size(2),
                width = args.out.size(2);
  CONCLAVE_CHECK(heads > 0 && width % heads == 0, "[kernels/{}] rows of {} for {} heads", op, width, heads);
  check_tensor(op, "out", args.out, {sequence, batch, width}, DType::kF32);
  check_tensor(op, "lse", args.lse, args.lse.shape(), DType::kF32);
  check_tensor(op, "part_lse", args.part_lse, args.lse.shape(), DType::kF32);
  CONCLAVE_CHECK(args.part.defined() && (args.part.dtype() == DType::kF32 || args.part.dtype() == DType::kBF16),
                 "[kernels/{}] part must be f32 or bf16; got {}", op, describe(args.part));
  check_tensor(op, "part", args.part, args.out.shape(), args.part.dtype());
  CONCLAVE_KERNEL_DISPATCH(attention_merge, stream, args);
}
Cost attention_merge_cost(const AttentionMergeArgs& args) {
  return {3 * static_cast<double>(args.out.element_count()),
          static_cast<double>(2 * args.out.bytes() + args.part.bytes() + 3 * args.lse.bytes())};
}

}  // namespace conclave::kernels

#include "kernels/qkv.h"

#include "kernels/qkv_backend.h"

namespace conclave::kernels {
namespace {

void check(const char* op, const Tensor& fused, const Tensor& q, const Tensor& k, const Tensor& v) {
  CONCLAVE_CHECK(q.defined() && q.rank() == 4 && k.defined() && k.rank() == 4,
                 "[kernels/{}] q must be [B,n,S,D] and k [B,g,S,D]; got {} and {}", op, describe(q), describe(k));
  const int64_t batch = q.size(0), heads = q.size(1), length = q.size(2), size = q.size(3), groups = k.size(1);
  CONCLAVE_CHECK(dtype_size(q.dtype()) == 4 || dtype_size(q.dtype()) == 2,
                 "[kernels/{}] elements have 2 or 4 bytes; got {}", op, describe(q));
  CONCLAVE_CHECK(groups > 0 && heads % groups == 0,
                 "[kernels/{}] {} query heads do not share {} key/value heads evenly", op, heads, groups);
  check_tensor(op, "k", k, {batch, groups, length, size}, q.dtype());
  check_tensor(op, "v", v, {batch, groups, length, size}, q.dtype());
  check_tensor(op, "fused", fused, {length, batch, (heads + 2 * groups) * size}, q.dtype());
}

}  // namespace

void split_qkv(const Stream& stream, const SplitQkvArgs& args) {
  check("split_qkv", args.fused, args.q, args.k, args.v);
  CONCLAVE_KERNEL_DISPATCH(split_qkv, stream, args);
}
Cost split_qkv_cost(const SplitQkvArgs& args) { return {0, 2 * static_cast<double>(args.fused.bytes())}; }

void merge_qkv(const Stream& stream, const MergeQkvArgs& args) {
  check("merge_qkv", args.fused, args.q, args.k, args.v);
  CONCLAVE_KERNEL_DISPATCH(merge_qkv, stream, args);
}
Cost merge_qkv_cost(const MergeQkvArgs& args) { return {0, 2 * static_cast<double>(args.fused.bytes())}; }

}  // namespace conclave::kernels

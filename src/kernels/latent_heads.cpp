#include "kernels/latent_heads.h"

#include "kernels/latent_heads_backend.h"

namespace conclave::kernels {
namespace {

void check_query(const char* op, const Tensor& fused, const Tensor& q, int64_t rotated) {
  CONCLAVE_CHECK(q.defined() && q.rank() == 4, "[kernels/{}] q must be [B,n,S,D'+P]; got {}", op, describe(q));
  CONCLAVE_CHECK(dtype_size(q.dtype()) == 4 || dtype_size(q.dtype()) == 2,
                 "[kernels/{}] elements have 2 or 4 bytes; got {}", op, describe(q));
  CONCLAVE_CHECK(rotated >= 0 && rotated <= q.size(3), "[kernels/{}] {} of {} elements rotate", op, rotated, q.size(3));
  check_tensor(op, "fused", fused, {q.size(2), q.size(0), q.size(1) * q.size(3)}, q.dtype());
}

void check_keys(const char* op, const Tensor& up, const Tensor& shared, const Tensor& k, const Tensor& v) {
  CONCLAVE_CHECK(k.defined() && k.rank() == 4 && v.defined() && v.rank() == 4 && shared.defined() && shared.rank() == 3,
                 "[kernels/{}] k must be [B,n,S,D'+P], v [B,n,S,Dv] and shared [S,B,D']; got {}, {} and {}", op,
                 describe(k), describe(v), describe(shared));
  CONCLAVE_CHECK(k.dtype() == DType::kF32 || k.dtype() == DType::kBF16, "[kernels/{}] f32 or bf16; got {}", op,
                 describe(k));
  const int64_t batch = k.size(0), heads = k.size(1), length = k.size(2), rotated = shared.size(2);
  CONCLAVE_CHECK(rotated <= k.size(3), "[kernels/{}] {} of {} elements rotate", op, rotated, k.size(3));
  check_tensor(op, "v", v, {batch, heads, length, v.size(3)}, k.dtype());
  check_tensor(op, "shared", shared, {length, batch, rotated}, k.dtype());
  check_tensor(op, "up", up, {length, batch, heads * (k.size(3) - rotated + v.size(3))}, k.dtype());
}

}  // namespace

void split_latent_query(const Stream& stream, const SplitLatentQueryArgs& args) {
  check_query("split_latent_query", args.fused, args.q, args.rotated);
  CONCLAVE_KERNEL_DISPATCH(split_latent_query, stream, args);
}
Cost split_latent_query_cost(const SplitLatentQueryArgs& args) { return {0, 2 * static_cast<double>(args.q.bytes())}; }

void merge_latent_query(const Stream& stream, const MergeLatentQueryArgs& args) {
  check_query("merge_latent_query", args.fused, args.q, args.rotated);
  CONCLAVE_KERNEL_DISPATCH(merge_latent_query, stream, args);
}
Cost merge_latent_query_cost(const MergeLatentQueryArgs& args) { return {0, 2 * static_cast<double>(args.q.bytes())}; }

void join_latent_keys(const Stream& stream, const JoinLatentKeysArgs& args) {
  check_keys("join_latent_keys", args.up, args.shared, args.k, args.v);
  CONCLAVE_KERNEL_DISPATCH(join_latent_keys, stream, args);
}
Cost join_latent_keys_cost(const JoinLatentKeysArgs& args) {
  return {0, static_cast<double>(args.up.bytes() + args.shared.bytes() + args.k.bytes() + args.v.bytes())};
}

void join_latent_keys_backward(const Stream& stream, const JoinLatentKeysBackwardArgs& args) {
  check_keys("join_latent_keys_backward", args.dup, args.dshared, args.dk, args.dv);
  CONCLAVE_KERNEL_DISPATCH(join_latent_keys_backward, stream, args);
}
Cost join_latent_keys_backward_cost(const JoinLatentKeysBackwardArgs& args) {
  return {static_cast<double>(args.dshared.element_count() * args.dk.size(1)),
          static_cast<double>(args.dup.bytes() + args.dshared.bytes() + args.dk.bytes() + args.dv.bytes())};
}

}  // namespace conclave::kernels

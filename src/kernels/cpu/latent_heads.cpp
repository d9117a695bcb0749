#include "kernels/cpu/vector.h"
#include "kernels/latent_heads_backend.h"

namespace conclave::kernels::cpu {
namespace {

// Calls body(s, b) for every token.
template <typename Body>
void for_each_token(const Tensor& heads, Body body) {
  const int64_t batch = heads.size(0), length = heads.size(2);
#pragma omp parallel for collapse(2) schedule(static) if (heads.element_count() >= (1 << 14))
  for (int64_t s = 0; s < length; ++s) {
    for (int64_t b = 0; b < batch; ++b) body(s, b);
  }
}

std::byte* head_row(const Tensor& heads, int64_t b, int64_t h, int64_t s) {
  return heads.raw() + ((b * heads.size(1) + h) * heads.size(2) + s) * heads.size(3) * dtype_size(heads.dtype());
}
std::byte* token_row(const Tensor& tokens, int64_t s, int64_t b) {
  return tokens.raw() + (s * tokens.size(1) + b) * tokens.size(2) * dtype_size(tokens.dtype());
}

// copy(row of fused, row of q, bytes) for both parts of every head.
template <typename Copy>
void copy_query(const Tensor& fused, const Tensor& q, int64_t rotated, Copy copy) {
  const int64_t size = dtype_size(q.dtype()), turned = rotated * size, plain = q.size(3) * size - turned;
  for_each_token(q, [&](int64_t s, int64_t b) {
    std::byte* from = token_row(fused, s, b);
    for (int64_t h = 0; h < q.size(1); ++h, from += plain + turned) {
      std::byte* head = head_row(q, b, h, s);
      copy(from, head + turned, plain);
      copy(from + plain, head, turned);
    }
  });
}

template <typename T>
void sum_shared(const JoinLatentKeysBackwardArgs& args) {
  const int64_t heads = args.dk.size(1), rotated = args.dshared.size(2);
  for_each_token(args.dk, [&](int64_t s, int64_t b) {
    T* out = reinterpret_cast<T*>(token_row(args.dshared, s, b));
    for_each_vector(rotated, [&](int64_t d, int64_t count) CONCLAVE_INLINE_LAMBDA {
      VecF sum = broadcast(0);
      for (int64_t h = 0; h < heads; ++h)
        sum += load_some(reinterpret_cast<const T*>(head_row(args.dk, b, h, s)) + d, count);
      store_some(out + d, sum, count);
    });
  });
}

}  // namespace

void split_latent_query(const Stream&, const SplitLatentQueryArgs& args) {
  copy_query(args.fused, args.q, args.rotated,
             [](const std::byte* fused, std::byte* head, int64_t bytes) { copy_row(head, fused, bytes); });
}

void merge_latent_query(const Stream&, const MergeLatentQueryArgs& args) {
  copy_query(args.fused, args.q, args.rotated,
             [](std::byte* fused, const std::byte* head, int64_t bytes) { copy_row(fused, head, bytes); });
}

void join_latent_keys(const Stream&, const JoinLatentKeysArgs& args) {
  const int64_t size = dtype_size(args.k.dtype()), turned = args.shared.size(2) * size,
                plain = args.k.size(3) * size - turned, value = args.v.size(3) * size;
  for_each_token(args.k, [&](int64_t s, int64_t b) {
    const std::byte* up = token_row(args.up, s, b);
    const std::byte* shared = token_row(args.shared, s, b);
    for (int64_t h = 0; h < args.k.size(1); ++h, up += plain + value) {
      std::byte* key = head_row(args.k, b, h, s);
      copy_row(key, shared, turned);
      copy_row(key + turned, up, plain);
      copy_row(head_row(args.v, b, h, s), up + plain, value);
    }
  });
}

void join_latent_keys_backward(const Stream&, const JoinLatentKeysBackwardArgs& args) {
  const int64_t size = dtype_size(args.dk.dtype()), turned = args.dshared.size(2) * size,
                plain = args.dk.size(3) * size - turned, value = args.dv.size(3) * size;
  for_each_token(args.dk, [&](int64_t s, int64_t b) {
    std::byte* up = token_row(args.dup, s, b);
    for (int64_t h = 0; h < args.dk.size(1); ++h, up += plain + value) {
      copy_row(up, head_row(args.dk, b, h, s) + turned, plain);
      copy_row(up + plain, head_row(args.dv, b, h, s), value);
    }
  });
  args.dk.dtype() == DType::kF32 ? sum_shared<float>(args) : sum_shared<BF16>(args);
}

}  // namespace conclave::kernels::cpu

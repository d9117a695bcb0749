#include "kernels/cuda/units.cuh"
#include "kernels/latent_heads_backend.h"

namespace conclave::kernels::cuda {
namespace {

struct Token {
  int64_t s, b;
};

template <typename Index>
__device__ __forceinline__ Token token_of(Index row, int64_t batch) {
  const Index s = row / static_cast<Index>(batch);
  return {int64_t{s}, int64_t{row - s * static_cast<Index>(batch)}};
}

template <Way way, typename Unit>
void copy_query(const Stream& stream, const Tensor& fused, const Tensor& q, int64_t rotated) {
  const int64_t batch = q.size(0), heads = q.size(1), length = q.size(2);
  const int64_t size = dtype_size(q.dtype()), unit_bytes = sizeof(Unit);
  const int64_t turned = rotated * size / unit_bytes, row = q.size(3) * size / unit_bytes, plain = row - turned;
  Unit *tokens = units<Unit>(fused), *by_head = units<Unit>(q);
  for_each(stream, way == Way::kSplit ? "split_latent_query" : "merge_latent_query", length * batch * heads * row,
           [=] __device__(auto i) {
             using Index = decltype(i);
             const Index piece = i / static_cast<Index>(row), unit = i - piece * static_cast<Index>(row);
             const Index token = piece / static_cast<Index>(heads), h = piece - token * static_cast<Index>(heads);
             const Token at = token_of(token, batch);
             Unit* head = by_head + ((at.b * heads + h) * length + at.s) * row;
             Unit& other = head[unit < plain ? turned + unit : unit - plain];
             move_unit<way>(tokens[i], other);
           });
}

template <Way way>
void copy_queries(const Stream& stream, const Tensor& fused, const Tensor& q, int64_t rotated) {
  const int64_t size = dtype_size(q.dtype());
  UnitBytes unit;
  unit.divides(rotated * size).divides(q.size(3) * size).holds(fused).holds(q);
  with_unit(unit.get(), [&](auto zero) { copy_query<way, decltype(zero)>(stream, fused, q, rotated); });
}

/// The part of keys and values that each head has for itself: up [S,B,n(P+Dv)] <-> k, v.
template <Way way, typename Unit>
void copy_own(const Stream& stream, const Tensor& up, const Tensor& k, const Tensor& v, int64_t rotated) {
  const int64_t batch = k.size(0), heads = k.size(1), length = k.size(2);
  const int64_t size = dtype_size(k.dtype()), unit_bytes = sizeof(Unit);
  const int64_t turned = rotated * size / unit_bytes, key = k.size(3) * size / unit_bytes, plain = key - turned;
  const int64_t value = v.size(3) * size / unit_bytes, row = plain + value;
  Unit *tokens = units<Unit>(up), *keys = units<Unit>(k), *values = units<Unit>(v);
  for_each(stream, "join_latent_keys", length * batch * heads * row, [=] __device__(auto i) {
    using Index = decltype(i);
    const Index piece = i / static_cast<Index>(row), unit = i - piece * static_cast<Index>(row);
    const Index token = piece / static_cast<Index>(heads), h = piece - token * static_cast<Index>(heads);
    const Token at = token_of(token, batch);
    const int64_t head = (at.b * heads + h) * length + at.s;
    Unit& other = unit < plain ? keys[head * key + turned + unit] : values[head * value + (unit - plain)];
    move_unit<way>(tokens[i], other);
  });
}

template <Way way>
void copy_owns(const Stream& stream, const Tensor& up, const Tensor& k, const Tensor& v, int64_t rotated) {
  const int64_t size = dtype_size(k.dtype());
  UnitBytes unit;
  unit.divides(rotated * size).divides(k.size(3) * size).divides(v.size(3) * size).holds(up).holds(k).holds(v);
  with_unit(unit.get(), [&](auto zero) { copy_own<way, decltype(zero)>(stream, up, k, v, rotated); });
}

/// The rotated elements, one row a token, to every head.
template <typename Unit>
void spread(const Stream& stream, const Tensor& shared, const Tensor& k) {
  const int64_t batch = k.size(0), heads = k.size(1), length = k.size(2);
  const int64_t size = dtype_size(k.dtype()), unit_bytes = sizeof(Unit);
  const int64_t turned = shared.size(2) * size / unit_bytes, key = k.size(3) * size / unit_bytes;
  const Unit* from = units<Unit>(shared);
  Unit* keys = units<Unit>(k);
  for_each(stream, "join_latent_keys", length * batch * turned, [=] __device__(auto i) {
    using Index = decltype(i);
    const Index token = i / static_cast<Index>(turned), unit = i - token * static_cast<Index>(turned);
    const Token at = token_of(token, batch);
    const Unit value = from[i];
    for (int64_t h = 0; h < heads; ++h) keys[((at.b * heads + h) * length + at.s) * key + unit] = value;
  });
}

template <typename T>
void sum_shared(const Stream& stream, const JoinLatentKeysBackwardArgs& args) {
  const int64_t batch = args.dk.size(0), heads = args.dk.size(1), length = args.dk.size(2), key = args.dk.size(3);
  const int64_t turned = args.dshared.size(2);
  const T* dk = pointer<const T>(args.dk);
  T* out = pointer<T>(args.dshared);
  for_each(stream, "join_latent_keys_backward", length * batch * turned, [=] __device__(auto i) {
    using Index = decltype(i);
    const Index token = i / static_cast<Index>(turned), d = i - token * static_cast<Index>(turned);
    const Token at = token_of(token, batch);
    float sum = 0;
    for (int64_t h = 0; h < heads; ++h) sum += wide(dk[((at.b * heads + h) * length + at.s) * key + d]);
    out[i] = narrow<T>(sum);
  });
}

}  // namespace

void split_latent_query(const Stream& stream, const SplitLatentQueryArgs& args) {
  copy_queries<Way::kSplit>(stream, args.fused, args.q, args.rotated);
}

void merge_latent_query(const Stream& stream, const MergeLatentQueryArgs& args) {
  copy_queries<Way::kJoin>(stream, args.fused, args.q, args.rotated);
}

void join_latent_keys(const Stream& stream, const JoinLatentKeysArgs& args) {
  copy_owns<Way::kSplit>(stream, args.up, args.k, args.v, args.shared.size(2));
  const int64_t size = dtype_size(args.k.dtype());
  UnitBytes unit;
  unit.divides(args.shared.size(2) * size).divides(args.k.size(3) * size).holds(args.shared).holds(args.k);
  with_unit(unit.get(), [&](auto zero) { spread<decltype(zero)>(stream, args.shared, args.k); });
}

void join_latent_keys_backward(const Stream& stream, const JoinLatentKeysBackwardArgs& args) {
  copy_owns<Way::kJoin>(stream, args.dup, args.dk, args.dv, args.dshared.size(2));
  with_float(args.dk.dtype(), [&](auto zero) { sum_shared<decltype(zero)>(stream, args); });
}

}  // namespace conclave::kernels::cuda

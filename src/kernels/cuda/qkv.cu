#include "kernels/cuda/units.cuh"
#include "kernels/qkv_backend.h"

namespace conclave::kernels::cuda {
namespace {

/// Every unit of the projection, in its order: coalesced there, and whole rows of a head on the other side.
template <Way way, typename Unit>
void copy_heads(const Stream& stream, const Tensor& fused, const Tensor& q, const Tensor& k, const Tensor& v) {
  const int64_t batch = q.size(0), heads = q.size(1), length = q.size(2), groups = k.size(1);
  const int64_t row = q.size(3) * dtype_size(q.dtype()) / static_cast<int64_t>(sizeof(Unit));
  const int64_t per_group = heads / groups, width = heads + 2 * groups;
  Unit *whole = units<Unit>(fused), *to_q = units<Unit>(q), *to_k = units<Unit>(k), *to_v = units<Unit>(v);
  for_each(stream, way == Way::kSplit ? "split_qkv" : "merge_qkv", length * batch * width * row,
           [=] __device__(auto i) {
             using Index = decltype(i);
             const Index piece = i / static_cast<Index>(row), unit = i - piece * static_cast<Index>(row);
             const Index token = piece / static_cast<Index>(width), column = piece - token * static_cast<Index>(width);
             const Index s = token / static_cast<Index>(batch), b = token - s * static_cast<Index>(batch);
             const Index group = column / static_cast<Index>(per_group + 2);
             const Index inside = column - group * static_cast<Index>(per_group + 2);
             Unit* head;
             if (inside < per_group) {
               head = to_q + ((int64_t{b} * heads + group * per_group + inside) * length + s) * row;
             } else {
               head = (inside == per_group ? to_k : to_v) + ((int64_t{b} * groups + group) * length + s) * row;
             }
             move_unit<way>(whole[i], head[unit]);
           });
}

template <Way way>
void copy_all(const Stream& stream, const Tensor& fused, const Tensor& q, const Tensor& k, const Tensor& v) {
  UnitBytes unit;
  unit.divides(q.size(3) * dtype_size(q.dtype())).holds(fused).holds(q).holds(k).holds(v);
  with_unit(unit.get(), [&](auto zero) { copy_heads<way, decltype(zero)>(stream, fused, q, k, v); });
}

}  // namespace

void split_qkv(const Stream& stream, const SplitQkvArgs& args) {
  copy_all<Way::kSplit>(stream, args.fused, args.q, args.k, args.v);
}

void merge_qkv(const Stream& stream, const MergeQkvArgs& args) {
  copy_all<Way::kJoin>(stream, args.fused, args.q, args.k, args.v);
}

}  // namespace conclave::kernels::cuda

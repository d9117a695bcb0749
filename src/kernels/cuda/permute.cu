#include "kernels/cuda/slot_sort.h"
#include "kernels/cuda/units.cuh"
#include "kernels/permute_backend.h"

namespace conclave::kernels::cuda {
namespace {

template <typename Unit>
void gather(const Stream& stream, const GatherRowsArgs& args) {
  const int64_t row = args.x.size(1) * dtype_size(args.x.dtype()) / static_cast<int64_t>(sizeof(Unit));
  const int64_t limit = args.x.size(0);
  const Unit* x = units<Unit>(args.x);
  Unit* out = units<Unit>(args.out);
  const int32_t* row_token = pointer<const int32_t>(args.row_token);
  for_each(stream, "gather_rows", args.out.size(0) * row, [=] __device__(auto i) {
    using Index = decltype(i);
    const Index p = i / static_cast<Index>(row), unit = i - p * static_cast<Index>(row);
    const int32_t token = row_token[p];
    out[i] = token >= 0 && token < limit ? x[int64_t{token} * row + unit] : Unit{};
  });
}

template <typename T, int V>
void combine(const Stream& stream, const CombineRowsArgs& args) {
  const int64_t tokens = args.slot_row.size(0), topk = args.slot_row.size(1), width = args.out.size(1);
  const int64_t packs = width / V, limit = args.rows.size(0);
  const T* rows = pointer<const T>(args.rows);
  const int32_t* slot_row = pointer<const int32_t>(args.slot_row);
  const float* weight = pointer<const float>(args.weight);
  T* out = pointer<T>(args.out);
  const bool add = args.accumulate == Accumulate::kAdd;
  for_each(stream, "combine_rows", tokens * packs, [=] __device__(auto i) {
    using Index = decltype(i);
    const Index t = i / static_cast<Index>(packs), column = (i - t * static_cast<Index>(packs)) * V;
    float sum[V] = {};
#pragma unroll 4
    for (int64_t k = 0; k < topk; ++k) {
      const int64_t slot = int64_t{t} * topk + k;
      const int32_t row = slot_row[slot];
      if (row < 0 || row >= limit) continue;
      const float factor = weight != nullptr ? weight[slot] : 1.0f;
      const auto in = load<V>(rows + int64_t{row} * width + column);
      for (int j = 0; j < V; ++j) sum[j] += wide(in.at[j]) * factor;
    }
    Pack<T, V> result;
    if (add) result = load<V>(out + int64_t{i} * V);
    for (int j = 0; j < V; ++j) result.at[j] = narrow<T>(add ? wide(result.at[j]) + sum[j] : sum[j]);
    store(out + int64_t{i} * V, result);
  });
}

template <typename From, typename To>
void pick(const Stream& stream, const char* op, const Tensor& values, const Tensor& index, const Tensor& out) {
  const From* from = pointer<const From>(values);
  const int32_t* at = pointer<const int32_t>(index);
  To* to = pointer<To>(out);
  const int64_t limit = values.element_count();
  for_each(stream, op, index.element_count(), [=] __device__(auto i) {
    const int32_t source = at[i];
    to[i] = source >= 0 && source < limit ? static_cast<To>(from[source]) : To{0};
  });
}

}  // namespace

void permutation_plan(const Stream& stream, const PermutationPlanArgs& args) {
  for (const Tensor* rows : {&args.row_token, &args.row_slot})
    if (rows->bytes() > 0)
      CONCLAVE_CUDA(cudaMemsetAsync(rows->raw(), 0xff, static_cast<size_t>(rows->bytes()), cuda_stream(stream)));
  sort_slots(stream, "permutation_plan",
             {.experts = args.experts,
              .expert_count = args.expert_count,
              .capacity = args.capacity,
              .counts = args.counts.data<int64_t>(),
              .offsets = args.offsets.data<int64_t>(),
              .place_slot = args.row_slot.data<int32_t>(),
              .place_token = args.row_token.data<int32_t>(),
              .slot_place = args.slot_row.data<int32_t>()});
}

void gather_rows(const Stream& stream, const GatherRowsArgs& args) {
  UnitBytes unit;
  unit.divides(args.x.size(1) * dtype_size(args.x.dtype())).holds(args.x).holds(args.out);
  with_unit(unit.get(), [&](auto zero) { gather<decltype(zero)>(stream, args); });
}

void combine_rows(const Stream& stream, const CombineRowsArgs& args) {
  with_float(args.rows.dtype(), [&](auto zero) {
    using T = decltype(zero);
    args.out.size(1) % kWide<T> == 0 && aligned(16, args.rows, args.out) ? combine<T, kWide<T>>(stream, args)
                                                                         : combine<T, 1>(stream, args);
  });
}

void gather_slots(const Stream& stream, const GatherSlotsArgs& args) {
  args.values.dtype() == DType::kF32
      ? pick<float, float>(stream, "gather_slots", args.values, args.row_slot, args.out)
      : pick<double, float>(stream, "gather_slots", args.values, args.row_slot, args.out);
}

void scatter_slots(const Stream& stream, const ScatterSlotsArgs& args) {
  args.values.dtype() == DType::kF32
      ? pick<float, float>(stream, "scatter_slots", args.rows, args.slot_row, args.values)
      : pick<float, double>(stream, "scatter_slots", args.rows, args.slot_row, args.values);
}

}  // namespace conclave::kernels::cuda

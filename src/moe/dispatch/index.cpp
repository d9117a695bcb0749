#include "moe/dispatch/index.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/dispatch_index.h"
#include "kernels/elementwise.h"
#include "kernels/permute.h"

namespace conclave {
namespace {

constexpr MemoryTag kIndexTag{MemoryCategory::kActivations, "dispatch.index"};

template <typename T>
Tensor on_device(const Context& context, const std::vector<T>& values) {
  const Tensor out =
      Tensor::empty(context.device(), {static_cast<int64_t>(values.size())}, DTypeOf<T>::value, kIndexTag);
  copy_from_host<T>(context.stream, out, values);
  return out;
}

}  // namespace

Tensor index_tensor(const Context& context, const std::vector<int32_t>& values) { return on_device(context, values); }
Tensor index_tensor(const Context& context, const std::vector<int64_t>& values) { return on_device(context, values); }

Tensor pick_rows(const Context& context, const Tensor& x, const Tensor& index, const char* name) {
  const Tensor rows = context.empty({index.size(0), x.size(1)}, x.dtype(), name);
  kernels::gather_rows(context.stream, {.x = x, .row_token = index, .out = rows});
  return rows;
}

void Permutation::shorten(int64_t rows) {
  row_token = row_token.slice(0, rows);
  row_slot = row_slot.slice(0, rows);
}

Permutation sort_choices(const Context& context, const Tensor& choices, int64_t destinations, int64_t capacity,
                         int64_t least_rows) {
  const int64_t rows = std::max(least_rows, capacity > 0 ? destinations * capacity : choices.element_count());
  Permutation out;
  out.counts = context.empty({destinations}, DType::kI64, "dispatch.counts");
  out.offsets = context.empty({destinations + 1}, DType::kI64, "dispatch.offsets");
  out.row_token = context.empty({rows}, DType::kI32, "dispatch.row_token");
  out.row_slot = context.empty({rows}, DType::kI32, "dispatch.row_slot");
  out.slot_row = context.empty(choices.shape(), DType::kI32, "dispatch.slot_row");
  kernels::permutation_plan(context.stream, {.experts = choices,
                                             .expert_count = destinations,
                                             .capacity = capacity,
                                             .counts = out.counts,
                                             .offsets = out.offsets,
                                             .row_token = out.row_token,
                                             .row_slot = out.row_slot,
                                             .slot_row = out.slot_row});
  return out;
}

Tensor sum_rows(const Context& context, const Tensor& rows, const Tensor& slot_row, const char* name) {
  const Tensor out = context.empty({slot_row.size(0), rows.size(1)}, rows.dtype(), name);
  kernels::combine_rows(context.stream, {.rows = rows, .slot_row = slot_row, .weight = {}, .out = out});
  return out;
}

Tensor values_of_choices(const Context& context, const Tensor& values, const Tensor& slot_row, DType dtype) {
  const Tensor out = context.empty(slot_row.shape(), dtype, "dispatch.choices");
  kernels::scatter_slots(context.stream, {.rows = values, .slot_row = slot_row, .values = out});
  return out;
}

Tensor values_of_rows(const Context& context, const Tensor& values, const Tensor& row_slot) {
  const Tensor out = context.empty(row_slot.shape(), DType::kF32, "dispatch.row_weight");
  kernels::gather_slots(context.stream, {.values = values, .row_slot = row_slot, .out = out});
  return out;
}

Tensor as_dtype(const Context& context, const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  const Tensor out = context.empty(x.shape(), dtype, "dispatch.cast");
  kernels::cast(context.stream, {.x = x, .y = out});
  return out;
}

ChunkOrder order_chunks(const Context& context, const std::vector<int64_t>& sizes, const std::vector<int32_t>& order) {
  if (std::is_sorted(order.begin(), order.end())) return {};
  const int64_t rows = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  ChunkOrder out{context.empty({rows}, DType::kI32, "dispatch.chunk_from"),
                 context.empty({rows}, DType::kI32, "dispatch.chunk_to")};
  kernels::reorder_chunks(
      context.stream,
      {.sizes = index_tensor(context, sizes), .order = index_tensor(context, order), .from = out.from, .to = out.to});
  return out;
}

std::vector<int64_t> read_counts(const Context& context, const Tensor& counts,
                                 const std::function<int64_t(int64_t i)>& declared) {
  std::vector<int64_t> out(static_cast<size_t>(counts.element_count()));
  if (context.device().is_sim()) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = declared(static_cast<int64_t>(i));
  } else if (counts.dtype() == DType::kF64) {
    const std::vector<double> values = to_host<double>(context.stream, counts);
    std::transform(values.begin(), values.end(), out.begin(), [](double value) { return std::llround(value); });
  } else {
    out = to_host<int64_t>(context.stream, counts);
  }
  return out;
}

std::shared_ptr<const DeclaredRouting> declared(const Routing& routing) {
  if (routing.declared) return routing.declared;
  return balanced_routing({routing.experts.size(0), routing.experts.size(1), routing.expert_count, routing.most_rows});
}

}  // namespace conclave

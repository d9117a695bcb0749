#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cpu/vector.h"
#include "kernels/permute_backend.h"

namespace conclave::kernels::cpu {
namespace {

constexpr int64_t kThreadedBytes = 1 << 16;

// Every index is -1 or within [0, limit): nothing outside is ever read.
void check_indices(const char* op, const char* name, const Tensor& indices, int64_t limit) {
  const int32_t* data = indices.data<int32_t>();
  const int64_t count = indices.element_count();
  int32_t lowest = 0, highest = -1;
#pragma omp simd reduction(min : lowest) reduction(max : highest)
  for (int64_t i = 0; i < count; ++i) {
    lowest = std::min(lowest, data[i]);
    highest = std::max(highest, data[i]);
  }
  CONCLAVE_CHECK(lowest >= -1 && highest < limit, "[kernels/{}] {} holds values from {} to {}; allowed are -1 to {}",
                 op, name, lowest, highest, limit - 1);
}

void count_choices_of(const PermutationPlanArgs& args, int64_t* counts) {
  const int32_t* experts = args.experts.data<int32_t>();
  std::fill_n(counts, args.expert_count, int64_t{0});
  for (int64_t slot = 0; slot < args.experts.element_count(); ++slot) {
    const int32_t expert = experts[slot];
    if (expert == -1) continue;
    CONCLAVE_USER_CHECK(expert >= 0 && expert < args.expert_count,
                        "[kernels/permutation_plan] token {} chooses expert {}, but there are experts 0 to {} only; "
                        "check the routing that was given",
                        slot / args.experts.size(1), expert, args.expert_count - 1);
    ++counts[expert];
  }
  if (args.capacity == 0) return;
  for (int64_t e = 0; e < args.expert_count; ++e) {
    CONCLAVE_CHECK(counts[e] <= args.capacity,
                   "[kernels/permutation_plan] expert {} has {} choices, more than its capacity of {}", e, counts[e],
                   args.capacity);
    counts[e] = args.capacity;
  }
}

template <typename T>
void combine(const CombineRowsArgs& args) {
  const int64_t tokens = args.slot_row.size(0), topk = args.slot_row.size(1), width = args.out.size(1);
  const T* rows = args.rows.data<T>();
  const int32_t* slot_row = args.slot_row.data<int32_t>();
  const float* weight = args.weight ? args.weight.data<float>() : nullptr;
  T* out = args.out.data<T>();
  const bool add = args.accumulate == Accumulate::kAdd;
#pragma omp parallel for schedule(static) if (args.out.bytes() >= kThreadedBytes)
  for (int64_t t = 0; t < tokens; ++t) {
    const T* source[kMostChoices];
    float factor[kMostChoices];
    int64_t present = 0;
    for (int64_t k = 0; k < topk; ++k) {
      const int64_t slot = t * topk + k;
      if (slot_row[slot] < 0) continue;
      source[present] = rows + slot_row[slot] * width;
      factor[present++] = weight != nullptr ? weight[slot] : 1.0f;
    }
    T* target = out + t * width;
    for_each_vector(width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
      VecF sum{};
      for (int64_t k = 0; k < present; ++k) sum += load_some(source[k] + j, n) * factor[k];
      if (add) sum += load_some(target + j, n);
      store_some(target + j, sum, n);
    });
  }
}

template <typename From, typename To>
void pick(const From* values, const int32_t* index, To* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = index[i] < 0 ? To{0} : static_cast<To>(values[index[i]]);
}

}  // namespace

// A counting sort; small beside what is done with its result, so one thread does it.
void permutation_plan(const Stream&, const PermutationPlanArgs& args) {
  int64_t* counts = args.counts.data<int64_t>();
  count_choices_of(args, counts);
  int64_t* offsets = args.offsets.data<int64_t>();
  offsets[0] = 0;
  for (int64_t e = 0; e < args.expert_count; ++e) offsets[e + 1] = offsets[e] + counts[e];
  int32_t* row_token = args.row_token.data<int32_t>();
  int32_t* row_slot = args.row_slot.data<int32_t>();
  int32_t* slot_row = args.slot_row.data<int32_t>();
  std::fill_n(row_token, args.row_token.size(0), -1);
  std::fill_n(row_slot, args.row_slot.size(0), -1);
  const int32_t* experts = args.experts.data<int32_t>();
  std::vector<int64_t> next(offsets, offsets + args.expert_count);
  const int64_t topk = args.experts.size(1);
  for (int64_t t = 0, slot = 0; t < args.experts.size(0); ++t) {
    for (int64_t k = 0; k < topk; ++k, ++slot) {
      if (experts[slot] < 0) {
        slot_row[slot] = -1;
        continue;
      }
      const int64_t row = next[static_cast<size_t>(experts[slot])]++;
      row_token[row] = static_cast<int32_t>(t);
      row_slot[row] = static_cast<int32_t>(slot);
      slot_row[slot] = static_cast<int32_t>(row);
    }
  }
}

void gather_rows(const Stream&, const GatherRowsArgs& args) {
  check_indices("gather_rows", "row_token", args.row_token, args.x.size(0));
  const int64_t bytes = args.x.size(1) * dtype_size(args.x.dtype()), rows = args.out.size(0);
  const int32_t* row_token = args.row_token.data<int32_t>();
  const std::byte* x = args.x.raw();
  std::byte* out = args.out.raw();
#pragma omp parallel for schedule(static) if (rows * bytes >= kThreadedBytes)
  for (int64_t p = 0; p < rows; ++p) {
    if (row_token[p] < 0) {
      std::memset(out + p * bytes, 0, static_cast<size_t>(bytes));
    } else {
      copy_row(out + p * bytes, x + row_token[p] * bytes, bytes);
    }
  }
}

void combine_rows(const Stream&, const CombineRowsArgs& args) {
  check_indices("combine_rows", "slot_row", args.slot_row, args.rows.size(0));
  args.rows.dtype() == DType::kF32 ? combine<float>(args) : combine<BF16>(args);
}

void gather_slots(const Stream&, const GatherSlotsArgs& args) {
  check_indices("gather_slots", "row_slot", args.row_slot, args.values.element_count());
  const int32_t* index = args.row_slot.data<int32_t>();
  float* out = args.out.data<float>();
  const int64_t count = args.out.element_count();
  args.values.dtype() == DType::kF32 ? pick(args.values.data<float>(), index, out, count)
                                     : pick(args.values.data<double>(), index, out, count);
}

void scatter_slots(const Stream&, const ScatterSlotsArgs& args) {
  check_indices("scatter_slots", "slot_row", args.slot_row, args.rows.size(0));
  const int32_t* index = args.slot_row.data<int32_t>();
  const float* rows = args.rows.data<float>();
  const int64_t count = args.values.element_count();
  args.values.dtype() == DType::kF32 ? pick(rows, index, args.values.data<float>(), count)
                                     : pick(rows, index, args.values.data<double>(), count);
}

}  // namespace conclave::kernels::cpu

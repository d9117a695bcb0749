// The permutation by its definition: for each expert in turn, the choices of it in order of tokens.
#pragma once

#include <cstdint>

namespace conclave::kernels::ref {

template <typename T>  // of the plan's integers
struct PermutationPlan {
  int64_t tokens = 0, topk = 0, expert_count = 0, capacity = 0, rows = 0;
  const T* experts = nullptr;
  T* counts = nullptr;
  T* offsets = nullptr;
  T* row_token = nullptr;
  T* row_slot = nullptr;
  T* slot_row = nullptr;
};

template <typename T>
void permutation_plan(const PermutationPlan<T>& p) {
  const int64_t choices = p.tokens * p.topk;
  for (int64_t row = 0; row < p.rows; ++row) p.row_token[row] = p.row_slot[row] = -1;
  for (int64_t slot = 0; slot < choices; ++slot) p.slot_row[slot] = -1;
  int64_t row = 0;
  for (int64_t expert = 0; expert < p.expert_count; ++expert) {
    const int64_t begin = row;
    p.offsets[expert] = static_cast<T>(begin);
    for (int64_t slot = 0; slot < choices; ++slot) {
      if (p.experts[slot] != static_cast<T>(expert)) continue;
      p.row_token[row] = static_cast<T>(slot / p.topk);
      p.row_slot[row] = static_cast<T>(slot);
      p.slot_row[slot] = static_cast<T>(row);
      ++row;
    }
    if (p.capacity > 0) row = begin + p.capacity;
    p.counts[expert] = static_cast<T>(row - begin);
  }
  p.offsets[p.expert_count] = static_cast<T>(row);
}

template <typename T, typename Index>
void gather_rows(const T* x, const Index* row_token, T* out, int64_t rows, int64_t width) {
  for (int64_t p = 0; p < rows; ++p) {
    for (int64_t j = 0; j < width; ++j)
      out[p * width + j] = row_token[p] < 0 ? T{0} : x[static_cast<int64_t>(row_token[p]) * width + j];
  }
}

template <typename T, typename Index>
struct CombineRows {
  int64_t tokens = 0, topk = 0, width = 0;
  const T* rows = nullptr;
  const Index* slot_row = nullptr;
  const T* weight = nullptr;  ///< optional
  T* out = nullptr;           ///< added to
};

template <typename T, typename Index>
void combine_rows(const CombineRows<T, Index>& c) {
  for (int64_t slot = 0; slot < c.tokens * c.topk; ++slot) {
    if (c.slot_row[slot] < 0) continue;
    const T* row = c.rows + static_cast<int64_t>(c.slot_row[slot]) * c.width;
    T* out = c.out + slot / c.topk * c.width;
    for (int64_t j = 0; j < c.width; ++j) out[j] += row[j] * (c.weight != nullptr ? c.weight[slot] : T{1});
  }
}

/// out[i] = values[index[i]], 0 where the index is negative: both directions of the slots.
template <typename T, typename Index>
void pick(const T* values, const Index* index, T* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = index[i] < 0 ? T{0} : values[static_cast<int64_t>(index[i])];
}

}  // namespace conclave::kernels::ref

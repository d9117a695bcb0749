// Attention with the whole row of probabilities at hand, as the formulas stand.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/philox.h"

namespace conclave::kernels::ref {

template <typename T>
struct Attention {
  int64_t batch = 0, heads = 0, groups = 0, queries = 0, keys = 0, key_stride = 0, size = 0, value_size = 0;
  bool causal = true;
  int64_t window = 0;
  const int32_t* document_starts = nullptr;  ///< optional
  float dropout_rate = 0;
  const std::vector<RandomStream>* streams = nullptr;
  T scale = 1;
  int64_t first_head = 0, first_query = 0, first_key = 0, all_queries = 0, all_keys = 0;  ///< place in the whole
  const T* q = nullptr;
  const T* k = nullptr;
  const T* v = nullptr;
  T* out = nullptr;         ///< forward: written; backward: read
  T* lse = nullptr;         ///< the same; optional in the forward pass
  T* max_logit = nullptr;   ///< forward: optional
  const T* sink = nullptr;  ///< [n]: one more score in the denominators; optional
  const T* dout = nullptr;
  T* dq = nullptr;  ///< dq, dk, dv are added to
  T* dk = nullptr;
  T* dv = nullptr;
  T* dsink = nullptr;  ///< added to; optional
  /// Sums of the sizes of the terms of out, dq, dk and dv, added to; all or none.
  T *out_sizes = nullptr, *dq_sizes = nullptr, *dk_sizes = nullptr, *dv_sizes = nullptr;

  bool sees(int64_t b, int64_t i, int64_t j) const {
    const int64_t self = first_query + i, key = first_key + j;
    if (causal && key > self) return false;
    if (window > 0 && key <= self - window) return false;
    return document_starts == nullptr || key >= document_starts[b * queries + i];
  }
  /// What dropout makes of the probability of key j.
  T kept(int64_t b, int64_t h, int64_t i, int64_t j) const {
    if (dropout_rate == 0) return 1;
    const auto element =
        static_cast<uint64_t>(((first_head + h) * all_queries + first_query + i) * all_keys + first_key + j);
    return (*streams)[static_cast<size_t>(b)].uniform(element) >= dropout_rate ? 1 / (1 - static_cast<T>(dropout_rate))
                                                                               : T{0};
  }
  int64_t query_row(int64_t b, int64_t h, int64_t i) const { return ((b * heads + h) * queries + i) * size; }
  int64_t key_row(int64_t b, int64_t h, int64_t j) const {
    return (b * groups + h / (heads / groups)) * key_stride + j;
  }
  int64_t out_row(int64_t b, int64_t h, int64_t i) const { return ((i * batch + b) * heads + h) * value_size; }
};

template <typename T>
T dot(const T* a, const T* b, int64_t count) {
  T sum = 0;
  for (int64_t d = 0; d < count; ++d) sum += a[d] * b[d];
  return sum;
}

/// Calls visit(b, h, i) for every query of every head.
template <typename T, typename Visit>
void for_each_query(const Attention<T>& a, Visit visit) {
  for (int64_t b = 0; b < a.batch; ++b) {
    for (int64_t h = 0; h < a.heads; ++h) {
      for (int64_t i = 0; i < a.queries; ++i) visit(b, h, i);
    }
  }
}

template <typename T>
void attention_forward(const Attention<T>& a) {
  std::vector<T> score(static_cast<size_t>(a.keys));
  for_each_query(a, [&](int64_t b, int64_t h, int64_t i) {
    T largest = -std::numeric_limits<T>::infinity(), sum = 0;
    for (int64_t j = 0; j < a.keys; ++j) {
      if (!a.sees(b, i, j)) continue;
      T& s = score[static_cast<size_t>(j)];
      s = a.scale * dot(a.q + a.query_row(b, h, i), a.k + a.key_row(b, h, j) * a.size, a.size);
      largest = std::max(largest, s);
    }
    T* out = a.out + a.out_row(b, h, i);
    for (int64_t d = 0; d < a.value_size; ++d) out[d] = 0;
    for (int64_t j = 0; j < a.keys; ++j) {
      if (!a.sees(b, i, j)) continue;
      const T p = std::exp(score[static_cast<size_t>(j)] - largest);
      sum += p;
      for (int64_t d = 0; d < a.value_size; ++d)
        out[d] += p * a.kept(b, h, i, j) * a.v[a.key_row(b, h, j) * a.value_size + d];
    }
    const int64_t row = (b * a.heads + h) * a.queries + i;
    if (a.max_logit != nullptr) a.max_logit[row] = largest;
    if (a.sink != nullptr && sum > 0) {
      sum += std::exp(a.sink[h] - largest);
    } else if (a.sink != nullptr) {
      largest = a.sink[h];
      sum = 1;
    }
    for (int64_t d = 0; d < a.value_size; ++d) out[d] = sum > 0 ? out[d] / sum : T{0};
    for (int64_t j = 0; j < a.keys && a.out_sizes != nullptr; ++j) {
      if (!a.sees(b, i, j)) continue;
      const T p = std::exp(score[static_cast<size_t>(j)] - largest) * a.kept(b, h, i, j) / sum;
      for (int64_t d = 0; d < a.value_size; ++d)
        a.out_sizes[a.out_row(b, h, i) + d] += std::abs(p * a.v[a.key_row(b, h, j) * a.value_size + d]);
    }
    if (a.lse != nullptr) a.lse[row] = largest + std::log(sum);
  });
}

template <typename T>
void attention_backward(const Attention<T>& a) {
  for_each_query(a, [&](int64_t b, int64_t h, int64_t i) {
    const T* dout = a.dout + a.out_row(b, h, i);
    const T delta = dot(dout, a.out + a.out_row(b, h, i), a.value_size);
    const T lse = a.lse[(b * a.heads + h) * a.queries + i];
    const int64_t query = a.query_row(b, h, i);
    if (a.dsink != nullptr) a.dsink[h] -= std::exp(a.sink[h] - lse) * delta;
    for (int64_t j = 0; j < a.keys; ++j) {
      if (!a.sees(b, i, j)) continue;
      const int64_t key = a.key_row(b, h, j) * a.size, value = a.key_row(b, h, j) * a.value_size;
      const T p = std::exp(a.scale * dot(a.q + query, a.k + key, a.size) - lse), kept = a.kept(b, h, i, j);
      const T dscore = p * (kept * dot(dout, a.v + value, a.value_size) - delta) * a.scale;
      for (int64_t d = 0; d < a.value_size; ++d) a.dv[value + d] += p * kept * dout[d];
      for (int64_t d = 0; d < a.size; ++d) {
        a.dq[query + d] += dscore * a.k[key + d];
        a.dk[key + d] += dscore * a.q[query + d];
      }
      if (a.dq_sizes == nullptr) continue;
      for (int64_t d = 0; d < a.value_size; ++d) a.dv_sizes[value + d] += std::abs(p * kept * dout[d]);
      for (int64_t d = 0; d < a.size; ++d) {
        a.dq_sizes[query + d] += std::abs(dscore * a.k[key + d]);
        a.dk_sizes[key + d] += std::abs(dscore * a.q[query + d]);
      }
    }
  });
}

}  // namespace conclave::kernels::ref

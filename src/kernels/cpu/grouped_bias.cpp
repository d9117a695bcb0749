#include "kernels/grouped_bias.h"

namespace conclave::kernels::cpu {
namespace {

template <typename T>
void forward(const GroupedBiasForwardArgs& args) {
  const int64_t experts = args.bias.size(0), width = args.bias.size(1);
  const int64_t* offsets = args.offsets.data<int64_t>();
  const float* weight = args.row_weight.defined() ? args.row_weight.data<float>() : nullptr;
  for (int64_t e = 0; e < experts; ++e) {
    const T* bias = args.bias.data<T>() + e * width;
#pragma omp parallel for
    for (int64_t p = offsets[e]; p < offsets[e + 1]; ++p) {
      T* row = args.y.data<T>() + p * width;
      const float factor = weight != nullptr ? weight[p] : 1.0f;
      for (int64_t j = 0; j < width; ++j) {
        const float sum = to_float(row[j]) + factor * to_float(bias[j]);
        if constexpr (std::is_same_v<T, BF16>) {
          row[j] = to_bf16(sum);
        } else {
          row[j] = sum;
        }
      }
    }
  }
}

template <typename T>
void backward(const GroupedBiasBackwardArgs& args) {
  const int64_t experts = args.bias.size(0), width = args.bias.size(1);
  const int64_t* offsets = args.offsets.data<int64_t>();
  const float* weight = args.row_weight.defined() ? args.row_weight.data<float>() : nullptr;
#pragma omp parallel for schedule(dynamic)
  for (int64_t e = 0; e < experts; ++e) {
    const T* bias = args.bias.data<T>() + e * width;
    float* dbias = args.dbias.data<float>() + e * width;
    for (int64_t p = offsets[e]; p < offsets[e + 1]; ++p) {
      const T* row = args.dy.data<T>() + p * width;
      const float factor = weight != nullptr ? weight[p] : 1.0f;
      float dot = 0;
      for (int64_t j = 0; j < width; ++j) {
        dbias[j] += factor * to_float(row[j]);
        dot += to_float(row[j]) * to_float(bias[j]);
      }
      if (weight != nullptr) args.drow_weight.data<float>()[p] += dot;
    }
  }
}

}  // namespace

void grouped_bias_forward(const Stream&, const GroupedBiasForwardArgs& args) {
  args.y.dtype() == DType::kBF16 ? forward<BF16>(args) : forward<float>(args);
}

void grouped_bias_backward(const Stream&, const GroupedBiasBackwardArgs& args) {
  args.dy.dtype() == DType::kBF16 ? backward<BF16>(args) : backward<float>(args);
}

}  // namespace conclave::kernels::cpu

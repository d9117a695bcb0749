// Dtypes of weights, gradients, states and products.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace conclave {

struct PrecisionOptions {
  bool bf16 = false;
  bool fp16 = false;
  bool accumulate_allreduce_grads_in_fp32 = false;  ///< resolve() turns it on for bf16 unless grad_reduce_in_bf16
  bool grad_reduce_in_bf16 = false;
  std::optional<std::string> fp8_format;  ///< e4m3, hybrid
  std::string fp8_recipe = "delayed";
  bool fp8_param_gather = false;
  bool reuse_grad_buf_for_mxfp8_param_ag = false;
  bool first_last_layers_bf16 = false;
  int64_t num_layers_at_start_in_bf16 = 1;
  int64_t num_layers_at_end_in_bf16 = 1;
  std::optional<std::string> fp4_format;
  bool use_precision_aware_optimizer = false;
  std::string main_grads_dtype = "fp32";
  std::string main_params_dtype = "fp32";
  std::string exp_avg_dtype = "fp32";
  std::string exp_avg_sq_dtype = "fp32";
};

}  // namespace conclave

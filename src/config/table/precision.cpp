#include "config/table/rows.h"

namespace conclave {

void add_precision_rows(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kPrecision;
  CONCLAVE_OPTION(precision, bf16, "Weights and activations in bf16, main weights and gradients in f32.");
  CONCLAVE_OPTION(precision, fp16, "Weights and activations in f16 with loss scaling.");
  CONCLAVE_OPTION(precision, accumulate_allreduce_grads_in_fp32, "Gradients in f32; bf16 turns it on.");
  CONCLAVE_OPTION(precision, grad_reduce_in_bf16, "Gradients of bf16 weights are kept and reduced in bf16.");
  CONCLAVE_OPTION(precision, fp8_format, "Products in FP8: e4m3 everywhere, or hybrid.").one_of({"e4m3", "hybrid"});
  CONCLAVE_OPTION(precision, fp8_recipe, "How FP8 scales are found.")
      .one_of({"tensorwise", "delayed", "mxfp8", "blockwise", "custom"});
  CONCLAVE_OPTION(precision, fp8_param_gather, "Weights are kept and gathered in FP8.");
  CONCLAVE_OPTION(precision, reuse_grad_buf_for_mxfp8_param_ag, "Gather MXFP8 weights through the gradient buffer.");
  CONCLAVE_OPTION(precision, first_last_layers_bf16, "First and last layers stay in bf16.");
  CONCLAVE_OPTION(precision, num_layers_at_start_in_bf16, "How many first layers.").at_least(0);
  CONCLAVE_OPTION(precision, num_layers_at_end_in_bf16, "How many last layers.").at_least(0);
  CONCLAVE_OPTION(precision, fp4_format, "Products in FP4.").one_of({"e2m1"});
  CONCLAVE_OPTION(precision, use_precision_aware_optimizer, "Optimizer states in smaller dtypes.");
  CONCLAVE_OPTION(precision, main_grads_dtype, "Dtype of the optimizer's gradients.").one_of({"fp32", "bf16"});
  CONCLAVE_OPTION(precision, main_params_dtype, "Dtype of main weights.").one_of({"fp32", "fp16"});
  CONCLAVE_OPTION(precision, exp_avg_dtype, "Dtype of Adam's first moment.").one_of({"fp32", "fp16", "bf16", "fp8"});
  CONCLAVE_OPTION(precision, exp_avg_sq_dtype, "Dtype of Adam's second moment.")
      .one_of({"fp32", "fp16", "bf16", "fp8"});
  add_not_active_rows(
      rows, group,
      {{"gradient-accumulation-fusion", kFlag, "true", "Weight gradients always accumulate inside the product."},
       {"disable-bf16-reduced-precision-matmul", kFlag, "", "Products always sum in f32 here."},
       {"hysteresis", kInt, "2", "Loss scaling of f16."},
       {"initial-loss-scale", kFloat, "4294967296", "Loss scaling of f16."},
       {"loss-scale-window", kFloat, "1000", "Loss scaling of f16."},
       {"min-loss-scale", kFloat, "1.0", "Loss scaling of f16."},
       {"keep-fp8-transpose-cache", kFlag, "", "A cache under FP8."}});
  add_unavailable_rows(rows, group, "FP8 training",
                       {{"fp8-amax-compute-algo", kString, "most_recent", "Which of the past maxima counts."},
                        {"fp8-amax-history-len", kInt, "1", "Past maxima kept."},
                        {"fp8-interval", kInt, "1", "Steps between new scales."},
                        {"fp8-margin", kInt, "0", "Powers of two of head-room."},
                        {"fp8-output-proj", kFlag, "", "The output layer in FP8 too."},
                        {"fp8-quantizer-factory", kString, "", "A user's own quantiser."},
                        {"fp8-wgrad", kFlag, "true", "Weight gradients in FP8."},
                        {"te-precision-config-file", kString, "", "Precision per module from a file."}});
  add_unavailable_rows(rows, group, "FP4 training",
                       {{"fp4-param-gather", kFlag, "", "Weights are gathered in FP4."},
                        {"fp4-quantizer-factory", kString, "", "A user's own quantiser."},
                        {"fp4-recipe", kString, "nvfp4", "How FP4 scales are found."}});
  add_unavailable_rows(rows, group, "further choices of dtype",
                       {{"fp16-lm-cross-entropy", kFlag, "", "The loss in f16."},
                        {"fp32-residual-connection", kFlag, "", "The residual stream in f32."},
                        {"loss-scale", kFloat, "", "A fixed loss scale."},
                        {"output-logit-dtype", kString, "", "Dtype of the logits."},
                        {"batch-invariant-mode", kFlag, "", "Results that do not depend on the batch size."},
                        {"batch-invariant-backend", kString, "te_native", "Kernels of that mode."}});
}

}  // namespace conclave

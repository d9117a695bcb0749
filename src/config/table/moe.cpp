#include "config/table/rows.h"

namespace conclave {
namespace {

void add_experts(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kMoe;
  CONCLAVE_OPTION(moe, num_experts, "Experts of an MoE layer; 0: a dense model.").at_least(0).shape();
  CONCLAVE_OPTION(moe, moe_ffn_hidden_size, "Width of one expert. Default: the dense MLP's.").at_least(0).shape();
  CONCLAVE_OPTION(moe, moe_layer_freq,
                  "N: layer i is MoE if i % N == 0; or a list such as \"([0]*3+[1]*58)\", 1 = MoE, 0 = dense.")
      .expression()
      .shape();
  CONCLAVE_OPTION(moe, moe_grouped_gemm, "Experts as one grouped product; they always are.").not_active();
  CONCLAVE_OPTION(moe, moe_shared_expert_intermediate_size, "Total width of the shared experts; 0: none.")
      .at_least(0)
      .shape();
  CONCLAVE_OPTION(moe, moe_shared_expert_gate, "A sigmoid gate on the shared experts.").shape();
  CONCLAVE_OPTION(moe, moe_shared_expert_overlap, "Shared experts run beside the exchange.");
  CONCLAVE_OPTION(moe, moe_apply_probs_on_input, "Weight the expert's input instead of its output (top-1 only).")
      .shape();
  CONCLAVE_OPTION(moe, moe_latent_size, "Experts work at this width.").at_least(0).shape();
  CONCLAVE_OPTION(moe, moe_use_upcycling, "Turn the dense checkpoint of --load into experts.");
  CONCLAVE_OPTION(moe, moe_upcycling_granularity, "Slices that a dense MLP is cut into.").at_least(1);
  CONCLAVE_OPTION(moe, moe_upcycling_scaling,
                  "exact: the new model starts as the function that the dense one was; split: the factor is spread "
                  "over both products and the router is random, as in Megatron-LM.")
      .one_of({"exact", "split"});
}

void add_router(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kMoe;
  CONCLAVE_OPTION(moe, moe_router_load_balancing_type, "Auxiliary losses or another way of balancing.")
      .one_of({"aux_loss", "seq_aux_loss", "global_aux_loss", "sinkhorn", "quantile_balancing", "none"})
      .count(1, 8);
  CONCLAVE_OPTION(moe, moe_aux_loss_coeff, "Weight of each balancing loss; 0: off.").count(1, 8);
  CONCLAVE_OPTION(moe, moe_z_loss_coeff, "Weight of the z-loss on router logits; 0: off.").at_least(0);
  CONCLAVE_OPTION(moe, moe_input_jitter_eps, "Router input is multiplied by U(1-eps, 1+eps); 0: off.").at_least(0);
  CONCLAVE_OPTION(moe, moe_router_topk, "Experts of a token.").at_least(1).shape();
  CONCLAVE_OPTION(moe, moe_router_score_function, "Turns logits into scores.")
      .one_of({"softmax", "sigmoid", "sqrtsoftplus"})
      .shape();
  CONCLAVE_OPTION(moe, moe_router_pre_softmax, "Softmax over all experts before the choice; no renormalisation.")
      .shape();
  CONCLAVE_OPTION(moe, moe_router_topk_scaling_factor, "Multiplies the final weights; 0: off.").at_least(0).shape();
  CONCLAVE_OPTION(moe, moe_router_num_groups, "Groups of experts for group-limited routing.").at_least(0).shape();
  CONCLAVE_OPTION(moe, moe_router_group_topk, "Groups a token may choose from; 0: no limit.").at_least(0).shape();
  CONCLAVE_OPTION(moe, moe_router_group_score,
                  "Score of a group: the sum of its best K / group-topk scores, of its best two, or the best one.")
      .one_of({"topk_sum", "top2_sum", "max"})
      .shape();
  CONCLAVE_OPTION(moe, moe_router_norm_topk_prob,
                  "Whether chosen scores are divided by their sum; auto: with sigmoid and sqrtsoftplus if K > 1. "
                  "Softmax: --moe-router-pre-softmax decides.")
      .one_of({"auto", "always", "never"})
      .shape();
  CONCLAVE_OPTION(moe, moe_router_enable_expert_bias, "Balancing without a loss: a bias on the choice.").shape();
  CONCLAVE_OPTION(moe, moe_router_bias_update_rate, "Step of that bias.").at_least(0);
  CONCLAVE_OPTION(moe, moe_router_dtype, "Dtype of router logits. Default: the activations'.").one_of({"fp32", "fp64"});
  CONCLAVE_OPTION(moe, moe_router_fusion, "Kernel fusion.").not_active();
  CONCLAVE_OPTION(moe, moe_router_padding_for_quantization, "Pad each expert's rows to a multiple for FP8.")
      .alias("moe-router-padding-for-fp8");
  CONCLAVE_OPTION(moe, moe_router_force_load_balancing, "Random logits: for benchmarks.");
  CONCLAVE_OPTION(moe, moe_router_force_biased, "Random biased logits: for benchmarks.");
  CONCLAVE_OPTION(moe, moe_enable_routing_replay, "Record routing choices and use them again.");
  CONCLAVE_OPTION(moe, moe_routing_trace_path, "Folder to write the choices of the router to, step by step.");
  CONCLAVE_OPTION(moe, moe_routing_trace_max_training_iters, "Steps to write; 0: all.").at_least(0);
  CONCLAVE_OPTION(moe, moe_routing_replay_path, "Folder of choices that another run wrote: this one makes them again.");
  CONCLAVE_OPTION(moe, moe_routing_imbalance,
                  "Device sim, where nothing is routed: balanced; zipf:ALPHA, expert 0 the most loaded; or a folder "
                  "that --moe-routing-trace-path wrote.");
  CONCLAVE_OPTION(moe, moe_expert_capacity_factor, "Rows an expert takes, relative to an even share; negative: all.");
  CONCLAVE_OPTION(moe, moe_pad_expert_input_to_capacity, "Every expert gets exactly its capacity.");
  CONCLAVE_OPTION(moe, moe_token_drop_policy, "Which rows stay when an expert is full.").one_of({"probs", "position"});
  CONCLAVE_OPTION(moe, moe_per_layer_logging, "Log balancing losses and expert load of each layer.");
}

void add_dispatch(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kMoe;
  CONCLAVE_OPTION(moe, moe_token_dispatcher_type, "How rows reach their experts; with one rank all are the same.")
      .one_of({"allgather", "alltoall", "flex"});
  CONCLAVE_OPTION(moe, moe_flex_dispatcher_backend, "Exchange under the flex dispatcher.")
      .one_of({"deepep", "hybridep", "ncclep"});
  CONCLAVE_OPTION(moe, moe_enable_deepep, "Older spelling of --moe-flex-dispatcher-backend deepep.");
  CONCLAVE_OPTION(moe, moe_permute_fusion, "Kernel fusion.").not_active();
}

}  // namespace

void add_moe_rows(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kMoe;
  add_experts(rows);
  add_router(rows);
  add_dispatch(rows);
  CONCLAVE_OPTION(moe, moe_layer_recompute, "Older spelling of selective recomputation of the MoE layer.");
  add_not_active_rows(rows, group,
                      {{"moe-deepep-num-sms", kInt, "", "GPU share of an exchange library."},
                       {"moe-flex-dispatcher-num-sms", kInt, "", "GPU share of an exchange library."},
                       {"moe-hybridep-num-blocks-permute", kInt, "", "GPU share of an exchange library."},
                       {"moe-hybridep-num-blocks-unpermute", kInt, "", "GPU share of an exchange library."},
                       {"moe-hybridep-num-sms", kInt, "", "GPU share of an exchange library."},
                       {"moe-hybridep-num-sms-preprocessing", kInt, "108", "GPU share of an exchange library."},
                       {"moe-hybridep-pad-uneven-dispatch-inputs", kFlag, "", "Padding inside an exchange library."},
                       {"moe-ncclep-zero-copy", kFlag, "", "Buffers of an exchange library."},
                       {"moe-permute-fusion-into-hybridep", kFlag, "", "Kernel fusion."},
                       {"moe-mlp-glu-interleave-size", kInt, "", "Memory order of gate and up rows."},
                       {"moe-shared-expert-glu-interleave-size", kInt, "", "Memory order of gate and up rows."},
                       {"moe-single-grouped-bias", kFlag, "", "Experts are always one tensor here."},
                       {"moe-single-grouped-weight", kFlag, "", "Experts are always one tensor here."},
                       {"moe-use-grouped-tensor", kFlag, "", "Choice of a grouped product."},
                       {"use-grouped-gemm-for-shared-expert", kFlag, "", "Choice of a matrix product."},
                       {"moe-pad-experts-for-cuda-graph-inference", kFlag, "", "Padding for graphs in generation."},
                       {"high-priority-a2a-comm-stream", kFlag, "", "Priority of a GPU stream."}});
  add_unavailable_rows(rows, group, "low-precision exchange of rows",
                       {{"moe-combine-bwd-dtype", kString, "bf16", "Dtype of gradients on the wire."},
                        {"moe-dispatch-fwd-dtype", kString, "bf16", "Dtype of rows on the wire."}});
  add_unavailable_rows(
      rows, group, "static receive budgets and paged expert activations",
      {{"moe-expert-rank-capacity-factor", kFloat, "", "Rows a rank receives at most, relative to an even share."},
       {"moe-paged-stash", kFlag, "", "Expert activations in pages."},
       {"moe-paged-stash-buffer-size-factor-cpu", kFloat, "0.0", "Size of the pages on the host."},
       {"moe-paged-stash-buffer-size-factor-cuda", kFloat, "1.1", "Size of the pages on the GPU."},
       {"moe-paged-stash-page-size", kInt, "64", "Rows of a page."}});
  add_unavailable_rows(rows, group, "a name of old scripts; use --moe-router-num-groups and --moe-router-group-topk",
                       {{"moe-router-topk-limited-devices", kInt, "", "Ranks a token may go to."}});
  add_unavailable_rows(rows, group, "quantile balancing",
                       {{"moe-router-quantile-balancing-ema", kFloat, "0.0", "Memory of the balancing thresholds."}});
  add_unavailable_rows(rows, group, "routing traces of more than choices",
                       {{"moe-routing-trace-capture-hidden-states", kFlag, "", "Also write router inputs."},
                        {"moe-routing-trace-capture-logits", kFlag, "", "Also write router logits."},
                        {"moe-routing-trace-dump-weights", kFlag, "", "Also write router weights."}});
}

}  // namespace conclave

// Routing, balancing and experts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace conclave {

struct MoeOptions {
  int64_t num_experts = 0;          ///< E; 0: a dense model
  int64_t moe_ffn_hidden_size = 0;  ///< F, width of one expert; 0: derived, ffn_hidden_size
  std::string moe_layer_freq =
      "1";  ///< n: layer i is MoE iff i % n == 0; or a list expression, 1 = MoE; see list_expression.h
  bool moe_grouped_gemm = false;

  // Router.
  std::vector<std::string> moe_router_load_balancing_type = {
      "aux_loss"};                                    ///< aux_loss, seq_aux_loss, global_aux_loss, sinkhorn, none
  std::vector<double> moe_aux_loss_coeff = {0.0};     ///< one per type
  double moe_z_loss_coeff = 0;                        ///< 0: off
  double moe_input_jitter_eps = 0;                    ///< 0: off
  int64_t moe_router_topk = 2;                        ///< K
  std::string moe_router_score_function = "softmax";  ///< softmax, sigmoid, sqrtsoftplus
  bool moe_router_pre_softmax = false;
  double moe_router_topk_scaling_factor = 0;        ///< 0: off
  int64_t moe_router_num_groups = 0;                ///< 0: no group limit
  int64_t moe_router_group_topk = 0;                ///< groups that may be chosen; 0: no group limit
  std::string moe_router_group_score = "topk_sum";  ///< topk_sum: best K / group-topk; top2_sum; max
  std::string moe_router_norm_topk_prob = "auto";   ///< auto: as the score function does; always, never
  bool moe_router_enable_expert_bias = false;
  double moe_router_bias_update_rate = 1e-3;
  std::optional<std::string> moe_router_dtype;  ///< fp32, fp64; else the activations' dtype with f32 accumulation
  bool moe_router_fusion = false;
  bool moe_router_padding_for_quantization = false;  ///< pads the routing map; --moe-router-padding-for-fp8 is the same
  bool moe_router_force_load_balancing = false;      ///< random logits: for benchmarks
  std::optional<double> moe_router_force_biased;
  bool moe_enable_routing_replay = false;

  // Routing of other runs, and of none (docs/routing.md).
  std::optional<std::string> moe_routing_trace_path;   ///< folder that this run writes its choices to
  int64_t moe_routing_trace_max_training_iters = 0;    ///< steps of this process to write; 0: all
  std::optional<std::string> moe_routing_replay_path;  ///< folder of a run whose choices are made again
  std::string moe_routing_imbalance = "balanced";      ///< sim: balanced, zipf:ALPHA, or folder of a run

  // Capacity.
  std::optional<double> moe_expert_capacity_factor;  ///< negative: none
  bool moe_pad_expert_input_to_capacity = false;
  std::string moe_token_drop_policy = "probs";  ///< probs, position

  // Dispatch.
  std::string moe_token_dispatcher_type = "allgather";  ///< allgather, alltoall, flex
  std::string moe_flex_dispatcher_backend = "deepep";   ///< deepep, hybridep, ncclep
  bool moe_enable_deepep = false;                       ///< old spelling of flex + deepep
  bool moe_permute_fusion = false;

  // Experts.
  int64_t moe_shared_expert_intermediate_size = 0;  ///< total width of the shared experts; 0: none
  bool moe_shared_expert_gate = false;
  bool moe_shared_expert_overlap = false;
  bool moe_apply_probs_on_input = false;
  int64_t moe_latent_size = 0;
  bool moe_per_layer_logging = false;
  bool moe_layer_recompute = false;  ///< old spelling of selective recompute of "moe"
  bool moe_use_upcycling = false;
  int64_t moe_upcycling_granularity = 1;
  std::string moe_upcycling_scaling = "exact";  ///< exact: the function is kept; split: over both products
};

}  // namespace conclave

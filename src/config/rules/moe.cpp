#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "config/resolve.h"
#include "config/rules/rules.h"

namespace conclave {
namespace {

void check_without_experts(Rules& rules) {
  const MoeOptions& moe = rules.raw.moe;
  if (moe.num_experts > 0) return;
  const std::pair<const char*, bool> options[] = {
      {"moe-ffn-hidden-size", moe.moe_ffn_hidden_size > 0},
      {"moe-shared-expert-intermediate-size", moe.moe_shared_expert_intermediate_size > 0},
      {"moe-latent-size", moe.moe_latent_size > 0},
      {"moe-router-enable-expert-bias", moe.moe_router_enable_expert_bias},
      {"moe-expert-capacity-factor", moe.moe_expert_capacity_factor.has_value()},
      {"moe-use-upcycling", moe.moe_use_upcycling},
      {"moe-routing-trace-path", moe.moe_routing_trace_path.has_value()},
      {"moe-routing-replay-path", moe.moe_routing_replay_path.has_value()},
      {"moe-routing-imbalance", moe.moe_routing_imbalance != "balanced"},
      {"activation-func-clamp-value", rules.raw.model.activation_func_clamp_value.has_value()},
      {"expert-model-parallel-size", rules.raw.parallel.expert_model_parallel_size > 1}};
  if (rules.raw.checkpoint.use_checkpoint_args || rules.command != Command::kTrain) return;
  for (const auto& [key, used] : options) {
    rules.refuse(used, "--{} needs experts; --num-experts is not given; add --num-experts N", key);
  }
}

void check_choice(Rules& rules) {
  const MoeOptions& moe = rules.raw.moe;
  const int64_t top = moe.moe_router_topk;
  rules.refuse(top > moe.num_experts, "--moe-router-topk must be at most --num-experts; got {} and {}; lower the first",
               top, moe.num_experts);
  const bool sinkhorn = contains(moe.moe_router_load_balancing_type, "sinkhorn");
  const bool on_purpose = moe.moe_router_norm_topk_prob == "always";
  rules.refuse(
      top == 1 && moe.moe_router_score_function == "softmax" && !moe.moe_router_pre_softmax && !sinkhorn && !on_purpose,
      "--moe-router-topk 1 with softmax over one expert has no gradient; softmax comes after the choice; add "
      "--moe-router-pre-softmax");
  const char* opposite = moe.moe_router_pre_softmax ? "always" : "never";
  rules.refuse(moe.moe_router_score_function == "softmax" && moe.moe_router_norm_topk_prob == opposite,
               "--moe-router-norm-topk-prob {} contradicts a softmax {} the choice; leave it out", opposite,
               moe.moe_router_pre_softmax ? "before" : "after");
  rules.refuse(moe.moe_router_enable_expert_bias && moe.moe_router_score_function == "softmax",
               "--moe-router-enable-expert-bias works with score functions sigmoid and sqrtsoftplus; got "
               "--moe-router-score-function softmax; choose one of those or drop the bias");
  rules.refuse(moe.moe_apply_probs_on_input && top != 1,
               "--moe-apply-probs-on-input needs --moe-router-topk 1; got {}; change one of them", top);
}

void check_groups(Rules& rules) {
  const MoeOptions& moe = rules.raw.moe;
  const int64_t chosen = moe.moe_router_group_topk, groups = moe.moe_router_num_groups;
  if (chosen == 0) return;
  if (groups == 0) {
    rules.refuse(true, "--moe-router-group-topk needs --moe-router-num-groups; got {} without it; add it", chosen);
    return;
  }
  rules.refuse(moe.num_experts % groups != 0,
               "--num-experts must be divisible by --moe-router-num-groups; got {} and {}; change one of them",
               moe.num_experts, groups);
  rules.refuse(chosen > groups,
               "--moe-router-group-topk must be at most --moe-router-num-groups; got {} and {}; lower the first",
               chosen, groups);
  if (moe.num_experts % groups != 0 || chosen > groups) return;
  const int64_t size = moe.num_experts / groups, top = moe.moe_router_topk;
  const int64_t terms = moe.moe_router_group_score == "max"        ? 1
                        : moe.moe_router_group_score == "top2_sum" ? 2
                                                                   : top / chosen;
  rules.refuse(terms == 0,
               "--moe-router-topk must be at least --moe-router-group-topk, or every group scores 0; got {} and {}; "
               "lower the second",
               top, chosen);
  rules.refuse(terms > size && moe.moe_router_group_score == "topk_sum",
               "a group is scored by its best --moe-router-topk / --moe-router-group-topk experts; got {} of {} in a "
               "group; use fewer groups or choose more of them",
               terms, size);
  rules.refuse(terms > size && moe.moe_router_group_score == "top2_sum",
               "--moe-router-group-score top2_sum needs two experts in a group; got {}; use fewer groups", size);
  rules.refuse(chosen * size < top,
               "the chosen groups must hold --moe-router-topk experts; got {} groups of {} for {}; choose more groups",
               chosen, size, top);
}

void check_balancing(Rules& rules) {
  const MoeOptions& moe = rules.raw.moe;
  const auto& types = moe.moe_router_load_balancing_type;
  const auto& weights = moe.moe_aux_loss_coeff;
  rules.refuse(
      types.size() != weights.size() && (types.size() > 1 || weights.size() > 1),
      "--moe-aux-loss-coeff needs one value for each --moe-router-load-balancing-type; got {} and {}; make the "
      "lists equally long",
      weights.size(), types.size());
  for (const char* alone : {"sinkhorn", "none", "quantile_balancing"}) {
    rules.refuse(types.size() > 1 && contains(types, alone),
                 "--moe-router-load-balancing-type {} stands alone; got {}; name losses only, or {} only", alone,
                 join(types, " "), alone);
  }
  const bool weighted = std::any_of(weights.begin(), weights.end(), [](double weight) { return weight != 0; });
  for (const char* free : {"sinkhorn", "quantile_balancing"}) {
    rules.refuse(contains(types, free) && weighted,
                 "--moe-router-load-balancing-type {} takes no auxiliary loss; got --moe-aux-loss-coeff {}; make it 0",
                 free, fmt::format("{}", weights.empty() ? 0.0 : weights[0]));
    rules.refuse(contains(types, free) && moe.moe_expert_capacity_factor.value_or(-1) >= 0,
                 "--moe-expert-capacity-factor works with auxiliary losses or none; got "
                 "--moe-router-load-balancing-type {}; drop one of them",
                 free);
  }
  rules.refuse(contains(types, "quantile_balancing") && (moe.moe_router_fusion || moe.moe_router_group_topk > 0),
               "--moe-router-load-balancing-type quantile_balancing goes without router fusion and groups; drop "
               "--moe-router-fusion and --moe-router-group-topk");
}

void check_capacity_and_dispatch(Rules& rules) {
  const MoeOptions& moe = rules.raw.moe;
  const bool capacity = moe.moe_expert_capacity_factor.value_or(-1) >= 0;
  const bool flex = moe.moe_token_dispatcher_type == "flex";
  const std::string& backend = moe.moe_flex_dispatcher_backend;
  rules.refuse(moe.moe_pad_expert_input_to_capacity && !capacity,
               "--moe-pad-expert-input-to-capacity needs --moe-expert-capacity-factor; it is not given; add it");
  rules.refuse(
      moe.moe_pad_expert_input_to_capacity && flex && backend == "deepep",
      "--moe-pad-expert-input-to-capacity does not go with the flex dispatcher's deepep; both are given; choose "
      "another --moe-token-dispatcher-type");
  rules.refuse(flex && backend == "ncclep" && capacity,
               "--moe-flex-dispatcher-backend ncclep has no capacity; got --moe-expert-capacity-factor; drop one");
  rules.refuse(flex && backend == "ncclep" && rules.raw.parallel.expert_model_parallel_size > 1,
               "--moe-flex-dispatcher-backend ncclep is not there for --expert-model-parallel-size above 1; got {}; "
               "choose deepep or hybridep",
               rules.raw.parallel.expert_model_parallel_size);
  rules.refuse(moe.moe_enable_deepep && !flex,
               "--moe-enable-deepep needs --moe-token-dispatcher-type flex; got {}; change it",
               moe.moe_token_dispatcher_type);
  rules.refuse(moe.moe_enable_deepep && flex && rules.given("moe-flex-dispatcher-backend") && backend != "deepep",
               "--moe-enable-deepep means --moe-flex-dispatcher-backend deepep; got {} as well; drop one of them",
               backend);
  rules.refuse(
      moe.moe_router_padding_for_quantization && !rules.raw.precision.fp8_format && !rules.raw.precision.fp4_format,
      "--moe-router-padding-for-quantization needs --fp8-format or --fp4-format; neither is given; drop it");
  rules.refuse(moe.moe_router_padding_for_quantization && moe.moe_token_dispatcher_type == "allgather",
               "--moe-router-padding-for-quantization needs the dispatcher alltoall or flex; got "
               "--moe-token-dispatcher-type allgather; choose alltoall");
}

void check_shared_and_latent(Rules& rules) {
  const MoeOptions& moe = rules.raw.moe;
  const bool shared = moe.moe_shared_expert_intermediate_size > 0;
  rules.refuse(moe.moe_shared_expert_gate && !shared,
               "--moe-shared-expert-gate needs --moe-shared-expert-intermediate-size; it is not given; add it");
  rules.refuse(shared && rules.raw.model.add_bias_linear,
               "shared experts have no biases; linear biases are on; add --disable-bias-linear");
  rules.refuse(rules.raw.model.add_bias_linear && rules.resolved.parallel.expert_tensor_parallel_size > 1,
               "biases in experts need --expert-tensor-parallel-size 1; got {}; add --disable-bias-linear or change it",
               rules.resolved.parallel.expert_tensor_parallel_size);
  rules.refuse(moe.moe_shared_expert_overlap && moe.moe_latent_size > 0,
               "--moe-shared-expert-overlap does not go with --moe-latent-size; both are given; drop one");
  rules.refuse(moe.moe_use_upcycling && !rules.raw.checkpoint.save,
               "--moe-use-upcycling needs --save; it is not given; add --save DIR");
}

}  // namespace

void check_moe_rules(Rules& rules) {
  check_without_experts(rules);
  if (rules.raw.moe.num_experts == 0) return;
  check_choice(rules);
  check_groups(rules);
  check_balancing(rules);
  check_capacity_and_dispatch(rules);
  check_shared_and_latent(rules);
  if (rules.raw.model.num_layers == 0) return;
  try {
    moe_layers(rules.raw);
  } catch (const UserError& error) {
    rules.problems.push_back(error.what());
  }
}

}  // namespace conclave

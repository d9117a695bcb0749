#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "config/resolve.h"
#include "config/rules/rules.h"

namespace conclave {
namespace {

void check_offload(Rules& rules) {
  const MemoryOptions& memory = rules.raw.memory;
  const auto& modules = memory.offload_modules;
  rules.refuse(memory.fine_grained_activation_offloading && modules.empty(),
               "--fine-grained-activation-offloading needs --offload-modules; none are named; add them");
  rules.refuse(!modules.empty() && !memory.fine_grained_activation_offloading,
               "--offload-modules needs --fine-grained-activation-offloading; it is not given; add it");
  rules.refuse(contains(modules, "attn_proj") && !contains(modules, "core_attn"),
               "--offload-modules attn_proj needs core_attn; it is not named; add it");
  const bool experts = contains(modules, "expert_fc1") || contains(modules, "moe_act");
  rules.refuse(experts && contains(rules.resolved.memory.recompute_modules, "moe"),
               "--offload-modules expert_fc1 and moe_act exclude recomputation of \"moe\"; both are given; drop one");
  rules.refuse(experts && contains(modules, "fused_group_mlp"),
               "--offload-modules fused_group_mlp excludes expert_fc1 and moe_act; both are named; drop one side");
  const PrecisionOptions& precision = rules.raw.precision;
  rules.refuse(memory.optimizer_cpu_offload && !precision.use_precision_aware_optimizer,
               "--optimizer-cpu-offload needs --use-precision-aware-optimizer; it is not given; add it");
  rules.refuse(memory.optimizer_cpu_offload && precision.fp8_param_gather && precision.fp8_recipe != "delayed",
               "--optimizer-cpu-offload with --fp8-param-gather needs --fp8-recipe delayed; got {}; change one of them",
               precision.fp8_recipe);
}

void check_full(Rules& rules) {
  const MemoryOptions& memory = rules.raw.memory;
  rules.refuse(!memory.recompute_method,
               "--recompute-granularity full needs --recompute-method; it is not given; add uniform or block");
  rules.refuse(memory.recompute_num_layers == 0,
               "--recompute-granularity full needs --recompute-num-layers; it is not given; add --recompute-num-layers "
               "N");
  rules.refuse(memory.recompute_activations,
               "--recompute-activations means selective recomputation; got --recompute-granularity full as well; drop "
               "one of them");
  rules.refuse(
      rules.raw.moe.moe_layer_recompute,
      "--moe-layer-recompute means selective recomputation; got --recompute-granularity full as well; drop one "
      "of them");
  rules.refuse(!memory.recompute_modules.empty(),
               "--recompute-modules counts with --recompute-granularity selective only; got full; drop one of them");
  const int64_t layers = rules.raw.model.num_layers / rules.raw.parallel.pipeline_model_parallel_size;
  rules.refuse(layers > 0 && memory.recompute_num_layers > layers,
               "--recompute-num-layers must be at most the layers of a pipeline rank; got {} and {}; lower it",
               memory.recompute_num_layers, layers);
}

void check_selective(Rules& rules) {
  const MemoryOptions& memory = rules.raw.memory;
  const auto& modules = rules.resolved.memory.recompute_modules;
  rules.refuse(memory.recompute_method.has_value(),
               "--recompute-method counts with --recompute-granularity full only; got selective; drop it");
  rules.refuse(memory.recompute_num_layers > 0,
               "--recompute-num-layers counts with --recompute-granularity full only; got selective; drop it");
  rules.refuse(contains(modules, "mla_up_proj") && !rules.raw.attention.multi_latent_attention,
               "--recompute-modules mla_up_proj needs --multi-latent-attention; it is not given; take the module out");
  rules.refuse(contains(modules, "shared_experts") && rules.raw.moe.moe_shared_expert_overlap,
               "--recompute-modules shared_experts excludes --moe-shared-expert-overlap; both are given; drop one");
  rules.refuse(contains(modules, "mhc") && contains(modules, "mlp"),
               "--recompute-modules mhc excludes mlp; both are named; drop one");
  const PrecisionOptions& precision = rules.raw.precision;
  rules.refuse(precision.fp8_format && precision.fp8_recipe == "delayed" &&
                   (contains(modules, "moe_act") || contains(modules, "layernorm")),
               "--fp8-recipe delayed excludes recomputation of moe_act and layernorm; got {}; choose another recipe",
               join(modules, " "));
}

void check_graph_modules(Rules& rules, const std::vector<std::string>& modules) {
  const MoeOptions& moe = rules.raw.moe;
  const bool capacity = moe.moe_expert_capacity_factor.value_or(-1) >= 0;
  const bool parts = contains(modules, "moe_router") || contains(modules, "moe_preprocess");
  rules.refuse(
      contains(modules, "moe") && !(capacity && moe.moe_pad_expert_input_to_capacity),
      "--cuda-graph-modules moe needs --moe-expert-capacity-factor and --moe-pad-expert-input-to-capacity; they "
      "are not given; add them or record moe_router only");
  rules.refuse(contains(modules, "moe") && contains(modules, "moe_router"),
               "--cuda-graph-modules moe and moe_router exclude each other; both are named; drop one");
  rules.refuse(contains(modules, "moe_preprocess") && !contains(modules, "moe_router"),
               "--cuda-graph-modules moe_preprocess needs moe_router; it is not named; add it");
  rules.refuse(
      contains(modules, "moe_preprocess") && moe.moe_token_dispatcher_type == "alltoall" &&
          (capacity || moe.moe_router_padding_for_quantization),
      "--cuda-graph-modules moe_preprocess with alltoall excludes capacity factors and routing-map padding; got "
      "one of them; take moe_preprocess out");
  rules.refuse((contains(modules, "moe") || parts) && moe.num_experts == 0,
               "--cuda-graph-modules {} needs experts; --num-experts is not given; take it out", join(modules, " "));
  if (contains(modules, "mlp") && moe.num_experts > 0 && rules.raw.model.num_layers > 0) {
    try {
      const std::vector<bool> experts = moe_layers(rules.raw);
      rules.refuse(std::find(experts.begin(), experts.end(), false) == experts.end(),
                   "--cuda-graph-modules mlp needs a dense layer; every layer has experts; take it out");
    } catch (const UserError&) {  // reported with the rules of the experts
    }
  }
  rules.refuse(modules.size() > 1 && (contains(modules, "full") || contains(modules, "full_iteration")),
               "--cuda-graph-modules full and full_iteration stand alone; got {}; keep one", join(modules, " "));
}

void check_graph_partners(Rules& rules) {
  const MemoryOptions& memory = rules.resolved.memory;
  const std::string& implementation = memory.cuda_graph_impl;
  const auto& modules = memory.cuda_graph_modules;
  const bool whole = implementation == "full_iteration";
  rules.refuse(memory.recompute_granularity == "full" && !whole,
               "--cuda-graph-impl {} excludes --recompute-granularity full; both are given; use selective",
               implementation);
  rules.refuse(
      implementation == "transformer_engine" && contains(modules, "moe_router") &&
          contains(memory.recompute_modules, "moe"),
      "--cuda-graph-impl transformer_engine with moe_router excludes recomputation of \"moe\"; both are given; "
      "drop one");
  const ModelOptions& model = rules.raw.model;
  rules.refuse(memory.recompute_granularity &&
                   (model.attention_dropout > 0 || model.hidden_dropout > 0 || rules.raw.moe.moe_input_jitter_eps > 0),
               "recorded recomputation excludes dropout and input jitter; got --attention-dropout {}, --hidden-dropout "
               "{}, --moe-input-jitter-eps {}; make them 0",
               model.attention_dropout, model.hidden_dropout, rules.raw.moe.moe_input_jitter_eps);
  rules.refuse(
      rules.raw.parallel.overlap_moe_expert_parallel_comm && (contains(modules, "moe") || contains(modules, "mlp")),
      "--overlap-moe-expert-parallel-comm excludes --cuda-graph-modules moe and mlp; got {}; take them out",
      join(modules, " "));
  if (!whole) return;
  rules.refuse(rules.raw.training.check_for_nan_in_loss_and_grad,
               "--cuda-graph-impl full_iteration excludes the search for NaN; it is on; add "
               "--no-check-for-nan-in-loss-and-grad");
  rules.refuse(!modules.empty(),
               "--cuda-graph-impl full_iteration records everything; got --cuda-graph-modules {}; "
               "drop them",
               join(modules, " "));
  rules.refuse(rules.raw.precision.fp8_format && rules.raw.precision.fp8_recipe != "mxfp8",
               "--cuda-graph-impl full_iteration with FP8 needs --fp8-recipe mxfp8; got {}; change it",
               rules.raw.precision.fp8_recipe);
}

}  // namespace

void check_memory_rules(Rules& rules) {
  check_offload(rules);
  const MemoryOptions& memory = rules.raw.memory;
  const auto& granularity = rules.resolved.memory.recompute_granularity;
  if (granularity == "full") check_full(rules);
  if (granularity == "selective") check_selective(rules);
  rules.refuse(!granularity && !memory.recompute_modules.empty(),
               "--recompute-modules needs --recompute-granularity selective; it is not given; add it");
  rules.refuse(!granularity && memory.recompute_method.has_value(),
               "--recompute-method needs --recompute-granularity full; it is not given; add it");
  rules.refuse(!granularity && memory.recompute_num_layers > 0,
               "--recompute-num-layers needs --recompute-granularity full; it is not given; add it");
  const ParallelOptions& parallel = rules.raw.parallel;
  rules.refuse(
      memory.distribute_saved_activations && (granularity != "full" || parallel.tensor_model_parallel_size == 1),
      "--distribute-saved-activations needs --recompute-granularity full and --tensor-model-parallel-size above "
      "1; drop it");
  rules.refuse(memory.distribute_saved_activations && parallel.sequence_parallel,
               "--distribute-saved-activations excludes --sequence-parallel; both are given; drop the first");
}

void check_graph_rules(Rules& rules) {
  const MemoryOptions& memory = rules.raw.memory;
  rules.refuse(memory.enable_cuda_graph && memory.external_cuda_graph,
               "--enable-cuda-graph and --external-cuda-graph exclude each other; both are given; use "
               "--cuda-graph-impl");
  rules.refuse(memory.enable_cuda_graph && memory.cuda_graph_impl != "none" && memory.cuda_graph_impl != "local",
               "--enable-cuda-graph means --cuda-graph-impl local; got {} as well; drop one of them",
               memory.cuda_graph_impl);
  rules.refuse(
      memory.external_cuda_graph && memory.cuda_graph_impl != "none" && memory.cuda_graph_impl != "transformer_engine",
      "--external-cuda-graph means --cuda-graph-impl transformer_engine; got {} as well; drop one of them",
      memory.cuda_graph_impl);
  for (const GivenOption& option : rules.parsed.given) {
    rules.refuse(option.row->key == "cuda-graph-modules" && option.spellings.size() > 1,
                 "--cuda-graph-scope is the older name of --cuda-graph-modules; both are given; drop the first");
  }
  if (rules.resolved.memory.cuda_graph_impl == "none") return;
  check_graph_modules(rules, rules.resolved.memory.cuda_graph_modules);
  check_graph_partners(rules);
}

}  // namespace conclave

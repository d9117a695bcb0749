#include "config/table/rows.h"

namespace conclave {
namespace {

void add_recompute(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kMemory;
  CONCLAVE_OPTION(memory, recompute_granularity, "Recompute activations in backward: whole layers or chosen modules.")
      .one_of({"full", "selective"});
  CONCLAVE_OPTION(memory, recompute_method, "full: uniform groups of layers, or a block of first layers.")
      .one_of({"uniform", "block"});
  CONCLAVE_OPTION(memory, recompute_num_layers, "full: layers of a group, or of the block.").at_least(0);
  CONCLAVE_OPTION(memory, recompute_modules, "selective: what is recomputed. Default: core_attn.")
      .one_of({"core_attn", "moe_act", "layernorm", "mla_up_proj", "mlp", "moe", "shared_experts", "gdn_norm_out",
               "gdp_in_proj", "gdp_qkv", "mhc"});
  CONCLAVE_OPTION(memory, recompute_activations, "The same as --recompute-granularity selective.")
      .alias("checkpoint-activations");
  CONCLAVE_OPTION(memory, distribute_saved_activations, "Tensor-parallel ranks share saved layer inputs.");
}

void add_offload(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kMemory;
  CONCLAVE_OPTION(memory, fine_grained_activation_offloading, "Activations of chosen modules go to host memory.");
  CONCLAVE_OPTION(memory, offload_modules, "Which modules.")
      .one_of({"attn_norm", "qkv_linear", "core_attn", "attn_proj", "mlp_norm", "expert_fc1", "moe_act",
               "fused_group_mlp", "gdp_qkv"});
  CONCLAVE_OPTION(memory, min_offloaded_tensor_size, "Elements below which a tensor stays.").at_least(0);
  CONCLAVE_OPTION(memory, activation_offload_fraction, "Share of them that goes.").between(0, 1);
  CONCLAVE_OPTION(memory, delta_offload_bytes_across_pp_ranks, "Bytes less on each later pipeline rank.");
  CONCLAVE_OPTION(memory, optimizer_cpu_offload, "Optimizer states in host memory.");
  CONCLAVE_OPTION(memory, optimizer_offload_fraction, "Share of them.").between(0, 1);
}

void add_graphs(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kMemory;
  CONCLAVE_OPTION(memory, cuda_graph_impl, "Replay recorded GPU work: whole steps with full_iteration.")
      .one_of({"none", "local", "transformer_engine", "full_iteration"});
  CONCLAVE_OPTION(memory, cuda_graph_modules, "Which parts are recorded; none named: whole layers.")
      .one_of({"attn", "mlp", "moe", "moe_router", "moe_preprocess", "mamba", "full", "full_iteration"})
      .alias("cuda-graph-scope");
  CONCLAVE_OPTION(memory, enable_cuda_graph, "Older spelling of --cuda-graph-impl local.").not_active();
  CONCLAVE_OPTION(memory, external_cuda_graph, "Older spelling of --cuda-graph-impl transformer_engine.").not_active();
}

}  // namespace

void add_memory_rows(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kMemory;
  add_recompute(rows);
  add_offload(rows);
  add_graphs(rows);
  add_not_active_rows(
      rows, group,
      {{"cuda-graph-warmup-steps", kInt, "3", "Steps before recording."},
       {"delay-offload-until-cuda-graph", kFlag, "", "Order of offloading and recording."},
       {"empty-unused-memory-level", kInt, "0", "Another allocator's habit."},
       {"fine-grained-offloading-max-inflight-offloads", kInt, "", "Transfers under way at a time."},
       {"cpu-offloading-retain-pinned-cpu-buffers", kFlag, "", "Buffers of an older kind of offloading."},
       {"optimizer-cuda-graph", kFlag, "", "Replay of the optimizer's step."},
       {"overlap-cpu-optimizer-d2h-h2d", kFlag, "", "Hide transfers of an offloaded optimizer."},
       {"pin-cpu-grads", kFlag, "true", "Kind of host memory."},
       {"pin-cpu-params", kFlag, "true", "Kind of host memory."},
       {"te-rng-tracker", kFlag, "", "Another library's random state."},
       {"te-rng-track", kFlag, "", "Another library's random state."},
       {"inference-rng-tracker", kFlag, "", "Another library's random state."},
       {"use-torch-optimizer-for-cpu-offload", kFlag, "", "Choice of another library's optimizer."}});
  add_unavailable_rows(rows, group, "an older kind of activation offloading",
                       {{"cpu-offloading-num-layers", kInt, "0", "Layers whose activations go to host memory."}});
  add_unavailable_rows(rows, group, "chunked dense MLPs",
                       {{"mlp-chunks-for-training", kInt, "1", "Pieces of an MLP's rows in training."},
                        {"mlp-chunks-for-prefill", kInt, "1", "Pieces of an MLP's rows in generation."}});
}

}  // namespace conclave

// Recomputation, offloading, graphs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace conclave {

struct MemoryOptions {
  std::optional<std::string> recompute_granularity;  ///< full, selective
  std::optional<std::string> recompute_method;       ///< uniform, block (full only)
  int64_t recompute_num_layers = 0;            ///< layers per group (uniform) or first layers (block); 0: not given
  std::vector<std::string> recompute_modules;  ///< core_attn, moe_act, layernorm, mlp, moe, shared_experts; resolve():
                                               ///< selective without a list means core_attn
  bool recompute_activations = false;          ///< = recompute_granularity selective
  bool distribute_saved_activations = false;
  bool fine_grained_activation_offloading = false;
  std::vector<std::string> offload_modules;
  int64_t min_offloaded_tensor_size = 1048576;  ///< elements
  double activation_offload_fraction = 1.0;
  int64_t delta_offload_bytes_across_pp_ranks = 0;
  bool optimizer_cpu_offload = false;
  double optimizer_offload_fraction = 1.0;
  std::string cuda_graph_impl = "none";
  std::vector<std::string> cuda_graph_modules;  ///< --cuda-graph-scope is the older name
  bool enable_cuda_graph = false;
  bool external_cuda_graph = false;
};

}  // namespace conclave

// How the work is laid out over ranks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace conclave {

struct ParallelOptions {
  int64_t world_size = 1;  ///< ranks; set from the launcher's environment, not by an option of train
  int64_t tensor_model_parallel_size = 1;
  int64_t pipeline_model_parallel_size = 1;
  int64_t context_parallel_size = 1;
  int64_t expert_model_parallel_size = 1;
  int64_t expert_tensor_parallel_size = 0;  ///< 0: derived, tensor_model_parallel_size
  std::vector<std::string> cp_comm_type = {"p2p"};
  std::vector<int64_t> hierarchical_context_parallel_sizes;
  bool sequence_parallel = false;  ///< resolve() clears it when the tensor size is 1
  int64_t ranks_per_node = 0;      ///< 0: as the machines have them; without a launcher one node
  bool use_tp_pp_dp_mapping = false;

  // Pipeline.
  int64_t num_layers_per_virtual_pipeline_stage = 0;             ///< 0: not given
  int64_t num_virtual_stages_per_pipeline_rank = 0;              ///< 0: not given
  int64_t microbatch_group_size_per_virtual_pipeline_stage = 0;  ///< 0: derived, pipeline size
  std::optional<std::string> pipeline_model_parallel_layout;
  int64_t decoder_first_pipeline_num_layers = 0;  ///< 0: not given
  int64_t decoder_last_pipeline_num_layers = 0;   ///< 0: not given
  bool account_for_embedding_in_pipeline_split = false;
  bool account_for_loss_in_pipeline_split = false;
  bool overlap_p2p_communication = true;
  bool overlap_p2p_communication_warmup_flush = false;

  // Data parallel.
  bool use_distributed_optimizer = false;
  int64_t num_distributed_optimizer_instances = 1;
  bool overlap_grad_reduce = false;
  bool overlap_param_gather = false;
  bool overlap_param_gather_with_optimizer_step = false;
  bool ddp_average_in_collective = false;
  int64_t ddp_bucket_size = 0;  ///< elements; 0: derived
  int64_t ddp_num_buckets = 0;  ///< 0: not given
  bool use_megatron_fsdp = false;

  // Overlap.
  bool tp_comm_overlap = false;
  bool overlap_moe_expert_parallel_comm = false;
  bool delay_wgrad_compute = false;
  bool ep_overlap_early_attn_memory_release = false;
  bool overlap_dispatch_backward_with_experts_wgrad = false;

  // Ranks.
  int64_t ranks_as_threads = 1;
  bool check_collectives = false;
  int64_t distributed_timeout_minutes = 10;

  bool fake_process_group = false;
};

}  // namespace conclave

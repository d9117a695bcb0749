// Values that follow from others. Every rule stands here and nowhere else.
#pragma once

#include <cstdint>
#include <vector>

#include "config/options.h"

namespace conclave {

/// Fills what was not given and brings older spellings into the newer form. Total: never throws, leaves a 0 where the
/// value it depends on is missing too. Doing it twice changes nothing.
///
/// - ffn_hidden_size: 4H; with swiglu or geglu int(4H * 2/3 / 64) * 64. moe_ffn_hidden_size: ffn_hidden_size, with
///   experts. kv_channels: H / heads. num_query_groups: heads, unless group_query_attention.
/// - max_position_embeddings: seq_length. use_rotary_position_embeddings: position_embedding_type rope.
/// - expert_tensor_parallel_size: tensor size. microbatch_group_size_...: pipeline size. sequence_parallel: off at
/// TP 1.
/// - global_batch_size: micro batch * data-parallel size (unless a step schedule is given). eval_*: as in training.
/// - negative capacity factor: none. moe_enable_deepep: flex with deepep. moe_layer_recompute: selective with "moe".
/// - recompute_activations: selective. selective without modules: core_attn. enable_cuda_graph, external_cuda_graph:
///   cuda_graph_impl local, transformer_engine; module "full" means none named, "full_iteration" the implementation.
/// - bf16: accumulate_allreduce_grads_in_fp32, unless grad_reduce_in_bf16.
Options resolved(Options options);

/// Ranks that see different data: world / (TP * PP * CP), at least 1.
int64_t data_parallel_size(const ParallelOptions& parallel);
/// "1, 2, 3, 6": the divisors of `count`, for messages.
std::string divisors_text(int64_t count);

/// Model chunks of a pipeline rank; 1: no interleaving. 0 if the options for it do not fit the layers.
int64_t virtual_pipeline_size(const Options& options);
/// True if an MLP has two halves, one the gate of the other.
bool has_gated_activation(const ModelOptions& model);
/// moe_layer_freq for each decoder layer; all false without experts. Throws UserError if it does not fit.
std::vector<bool> moe_layers(const Options& options);
/// Which decoder layers see a window; all false without --window-size. Throws UserError if the frequency does not fit.
std::vector<bool> windowed_layers(const Options& options);

}  // namespace conclave

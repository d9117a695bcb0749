#include "proof/layout_features.h"

#include <algorithm>

#include "config/resolve.h"

namespace conclave::proof {
namespace {

bool tensor(const Options& o) { return o.parallel.tensor_model_parallel_size > 1; }
bool pipeline(const Options& o) { return o.parallel.pipeline_model_parallel_size > 1; }
bool experts(const Options& o) { return o.moe.num_experts > 0; }
bool data(const Options& o) { return data_parallel_size(o.parallel) > 1; }
int64_t shards(const Options& o) { return data_parallel_size(o.parallel) * o.parallel.context_parallel_size; }
bool sharded(const Options& o) { return o.parallel.use_distributed_optimizer && shards(o) > 1; }

bool context(const Options& o, const char* kind) {
  const auto& kinds = o.parallel.cp_comm_type;
  return o.parallel.context_parallel_size > 1 && std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

bool expert_data(const Options& o) {
  const ParallelOptions& p = o.parallel;
  const int64_t box = p.pipeline_model_parallel_size * p.expert_model_parallel_size * p.expert_tensor_parallel_size;
  return experts(o) && p.world_size / box > 1;
}

bool dispatches(const Options& o, const char* type, const char* backend = nullptr) {
  const bool several = o.parallel.expert_model_parallel_size * o.parallel.expert_tensor_parallel_size > 1;
  return experts(o) && several && o.moe.moe_token_dispatcher_type == type &&
         (backend == nullptr || o.moe.moe_flex_dispatcher_backend == backend);
}

bool balances(const Options& o, const char* type) {
  const auto& types = o.moe.moe_router_load_balancing_type;
  const auto at = std::find(types.begin(), types.end(), type);
  if (!experts(o) || at == types.end()) return false;
  if (std::string_view(type) == "sinkhorn") return true;
  const auto& weights = o.moe.moe_aux_loss_coeff;
  return weights[weights.size() == 1 ? 0 : static_cast<size_t>(at - types.begin())] != 0;
}

std::vector<LayoutFeature> layout_axes() {
  return {
      {"TP", tensor, {"--tensor-model-parallel-size", "2", "--sequence-parallel"}},
      {"TP without SP",
       [](const Options& o) { return tensor(o) && !o.parallel.sequence_parallel; },
       {"--tensor-model-parallel-size", "2"},
       true},
      {"CP ring", [](const Options& o) { return context(o, "p2p"); }, {"--context-parallel-size", "2"}},
      {"CP gather",
       [](const Options& o) { return context(o, "all_gather"); },
       {"--context-parallel-size", "2", "--cp-comm-type", "all_gather"}},
      {"CP heads",
       [](const Options& o) { return context(o, "a2a"); },
       {"--context-parallel-size", "2", "--cp-comm-type", "a2a"}},
      {"CP heads, ring",
       [](const Options& o) { return context(o, "a2a+p2p"); },
       {"--context-parallel-size", "4", "--cp-comm-type", "a2a+p2p", "--hierarchical-context-parallel-sizes", "2",
        "2"}},
      {"PP", pipeline, {"--pipeline-model-parallel-size", "2"}},
      {"VPP",
       [](const Options& o) { return pipeline(o) && virtual_pipeline_size(o) > 1; },
       {"--pipeline-model-parallel-size", "2", "--num-virtual-stages-per-pipeline-rank", "2"}},
      {"layout string",
       [](const Options& o) { return o.parallel.pipeline_model_parallel_layout.has_value(); },
       {"--pipeline-model-parallel-size", "2", "--pipeline-model-parallel-layout", "Ettt|tL"}},
      {"uneven stages",
       [](const Options& o) { return pipeline(o) && o.parallel.decoder_first_pipeline_num_layers > 0; },
       {"--pipeline-model-parallel-size", "2", "--decoder-first-pipeline-num-layers", "1"}},
      {"no PP overlap",
       [](const Options& o) { return pipeline(o) && !o.parallel.overlap_p2p_communication; },
       {"--pipeline-model-parallel-size", "2", "--no-overlap-p2p-communication"}},
      {"TP-PP-DP",
       [](const Options& o) { return pipeline(o) && o.parallel.use_tp_pp_dp_mapping; },
       {"--pipeline-model-parallel-size", "2", "--use-tp-pp-dp-mapping"}},
      {"EP",
       [](const Options& o) { return o.parallel.expert_model_parallel_size > 1; },
       {"--expert-model-parallel-size", "2"}},
      {"ETP below TP",
       [](const Options& o) {
         return experts(o) && o.parallel.expert_tensor_parallel_size < o.parallel.tensor_model_parallel_size;
       },
       {"--tensor-model-parallel-size", "2", "--sequence-parallel", "--expert-tensor-parallel-size", "1"}},
      {"ETP above TP",
       [](const Options& o) {
         return experts(o) && o.parallel.expert_tensor_parallel_size > o.parallel.tensor_model_parallel_size;
       },
       {"--expert-tensor-parallel-size", "2"}},
      {"EDP", expert_data, {}},
      {"DP", data, {}},
  };
}

std::vector<LayoutFeature> exchanges() {
  const Words four = {"--expert-model-parallel-size", "4", "--moe-token-dispatcher-type"};
  const auto with = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  return {
      {"allgather",
       [](const Options& o) { return dispatches(o, "allgather"); },
       {"--expert-model-parallel-size", "2", "--moe-token-dispatcher-type", "allgather"}},
      {"alltoall",
       [](const Options& o) { return dispatches(o, "alltoall"); },
       {"--expert-model-parallel-size", "2", "--moe-token-dispatcher-type", "alltoall"}},
      {"flex deepep", [](const Options& o) { return dispatches(o, "flex", "deepep"); },
       with(four, {"flex", "--moe-flex-dispatcher-backend", "deepep", "--ranks-per-node", "2"})},
      {"flex hybridep", [](const Options& o) { return dispatches(o, "flex", "hybridep"); },
       with(four, {"flex", "--moe-flex-dispatcher-backend", "hybridep", "--ranks-per-node", "2"})},
      {"ZeRO-1", sharded, {"--use-distributed-optimizer"}},
      {"reduce overlap",
       [](const Options& o) { return shards(o) > 1 && o.parallel.overlap_grad_reduce; },
       {"--overlap-grad-reduce"}},
      {"gather overlap",
       [](const Options& o) { return sharded(o) && o.parallel.overlap_param_gather; },
       {"--use-distributed-optimizer", "--overlap-grad-reduce", "--overlap-param-gather"}},
      {"instances",
       [](const Options& o) { return o.parallel.num_distributed_optimizer_instances > 1; },
       {"--use-distributed-optimizer", "--num-distributed-optimizer-instances", "2"}},
      {"small buckets",
       [](const Options& o) { return shards(o) > 1 && o.parallel.ddp_bucket_size > 0; },
       {"--ddp-bucket-size", "3000"}},
      {"bf16 reduction",
       [](const Options& o) { return o.precision.grad_reduce_in_bf16; },
       {"--bf16", "--grad-reduce-in-bf16"}},
  };
}

std::vector<LayoutFeature> model_parts() {
  return {
      {"bf16", [](const Options& o) { return o.precision.bf16; }, {"--bf16"}},
      {"dense", [](const Options& o) { return !experts(o); }, {}, true},
      {"tied",
       [](const Options& o) { return !o.model.untie_embeddings_and_output_weights; },
       {"--no-untie-embeddings-and-output-weights"}},
      {"GQA",
       [](const Options& o) { return o.model.group_query_attention; },
       {"--group-query-attention", "--num-query-groups", "4"}},
      {"GQA below TP",
       [](const Options& o) { return o.model.num_query_groups < o.parallel.tensor_model_parallel_size; },
       {"--tensor-model-parallel-size", "4", "--sequence-parallel", "--group-query-attention", "--num-query-groups",
        "2"}},
      {"MLA",
       [](const Options& o) { return o.attention.multi_latent_attention; },
       {"--multi-latent-attention", "--q-lora-rank", "16", "--kv-lora-rank", "16", "--qk-head-dim", "8",
        "--qk-pos-emb-head-dim", "4", "--v-head-dim", "8"}},
      {"MTP", [](const Options& o) { return o.attention.mtp_num_layers > 0; }, {"--mtp-num-layers", "1"}},
      {"biases",
       [](const Options& o) { return o.model.add_bias_linear; },
       {"--add-bias-linear", "--expert-tensor-parallel-size", "1"}},
      {"learned positions",
       [](const Options& o) { return o.model.position_embedding_type == "learned_absolute"; },
       {"--position-embedding-type", "learned_absolute"}},
      {"QK norm", [](const Options& o) { return o.model.qk_layernorm; }, {"--qk-layernorm"}},
      {"softmax offset",
       [](const Options& o) { return o.model.softmax_type != "vanilla"; },
       {"--softmax-type", "learnable"}},
      {"window", [](const Options& o) { return !o.model.window_size.empty(); }, {"--window-size", "(5,0)"}},
      {"documents",
       [](const Options& o) { return o.data.reset_attention_mask || o.data.dataloader_inter_document_masking; },
       {"--dataloader-inter-document-masking"}},
      {"per-token loss",
       [](const Options& o) { return o.model.calculate_per_token_loss; },
       {"--calculate-per-token-loss"}},
      {"recompute all",
       [](const Options& o) { return o.memory.recompute_granularity == "full"; },
       {"--recompute-granularity", "full", "--recompute-method", "uniform", "--recompute-num-layers", "1"}},
      {"recompute parts",
       [](const Options& o) { return o.memory.recompute_granularity == "selective"; },
       {"--recompute-granularity", "selective", "--recompute-modules", "core_attn", "layernorm"}},
  };
}

std::vector<LayoutFeature> expert_parts() {
  return {
      {"shared expert",
       [](const Options& o) { return o.moe.moe_shared_expert_intermediate_size > 0; },
       {"--moe-shared-expert-intermediate-size", "16"}},
      {"shared overlap",
       [](const Options& o) { return o.moe.moe_shared_expert_overlap; },
       {"--moe-shared-expert-intermediate-size", "16", "--moe-shared-expert-overlap", "--moe-token-dispatcher-type",
        "alltoall"}},
      {"capacity",
       [](const Options& o) { return o.moe.moe_expert_capacity_factor.has_value(); },
       {"--moe-expert-capacity-factor", "0.5"}},
      {"padded",
       [](const Options& o) { return o.moe.moe_pad_expert_input_to_capacity; },
       {"--moe-expert-capacity-factor", "1", "--moe-pad-expert-input-to-capacity", "--moe-token-dispatcher-type",
        "alltoall"}},
      {"aux loss", [](const Options& o) { return balances(o, "aux_loss"); }, {}},
      {"seq aux loss",
       [](const Options& o) { return balances(o, "seq_aux_loss"); },
       {"--moe-router-load-balancing-type", "seq_aux_loss"}},
      {"global aux loss",
       [](const Options& o) { return balances(o, "global_aux_loss"); },
       {"--moe-router-load-balancing-type", "global_aux_loss"}},
      {"sinkhorn",
       [](const Options& o) { return balances(o, "sinkhorn"); },
       {"--moe-router-load-balancing-type", "sinkhorn", "--moe-aux-loss-coeff", "0"}},
      {"z-loss",
       [](const Options& o) { return experts(o) && o.moe.moe_z_loss_coeff > 0; },
       {"--moe-z-loss-coeff", "1e-2"}},
      {"expert bias",
       [](const Options& o) { return o.moe.moe_router_enable_expert_bias; },
       {"--moe-router-score-function", "sigmoid", "--moe-router-enable-expert-bias"}},
      {"jitter",
       [](const Options& o) { return experts(o) && o.moe.moe_input_jitter_eps > 0; },
       {"--moe-input-jitter-eps", "0.1"}},
  };
}

}  // namespace

const std::vector<LayoutFeature>& layout_features() {
  static const std::vector<LayoutFeature> all = [] {
    std::vector<LayoutFeature> out;
    for (const auto& part : {layout_axes(), exchanges(), model_parts(), expert_parts()})
      out.insert(out.end(), part.begin(), part.end());
    return out;
  }();
  return all;
}

std::vector<std::string> features_of(const Options& resolved) {
  std::vector<std::string> names;
  for (const LayoutFeature& feature : layout_features()) {
    if (feature.holds(resolved)) names.emplace_back(feature.name);
  }
  return names;
}

}  // namespace conclave::proof

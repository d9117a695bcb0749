#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "config/pipeline_layout.h"
#include "config/resolve.h"
#include "config/rules/rules.h"

namespace conclave {
namespace {

void check_grids(Rules& rules) {
  const ParallelOptions& parallel = rules.resolved.parallel;
  const int64_t dense =
      parallel.tensor_model_parallel_size * parallel.context_parallel_size * parallel.pipeline_model_parallel_size;
  const int64_t expert = parallel.expert_tensor_parallel_size * parallel.expert_model_parallel_size *
                         parallel.pipeline_model_parallel_size;
  rules.refuse(parallel.world_size % dense != 0,
               "the number of ranks must be divisible by tensor * context * pipeline size; got {} ranks and {}; start "
               "another number of ranks",
               parallel.world_size, dense);
  rules.refuse(parallel.world_size % expert != 0,
               "the number of ranks must be divisible by expert tensor * expert * pipeline size; got {} ranks and {}; "
               "start another number of ranks",
               parallel.world_size, expert);
  if (parallel.world_size % dense != 0 || parallel.world_size % expert != 0) return;
  const int64_t data = parallel.world_size / dense, expert_data = parallel.world_size / expert;
  rules.refuse(parallel.use_tp_pp_dp_mapping && parallel.pipeline_model_parallel_size > 1 && data != expert_data,
               "--use-tp-pp-dp-mapping needs equal data-parallel sizes of attention and experts; got {} and {}; change "
               "the expert sizes",
               data, expert_data);
  const int64_t copies = parallel.num_distributed_optimizer_instances;
  const int64_t shards = data * parallel.context_parallel_size;
  rules.refuse(
      shards % copies != 0 || expert_data % copies != 0,
      "--num-distributed-optimizer-instances must divide the data-parallel size ({}) and the experts' ({}); got "
      "{}; choose a divisor",
      shards, expert_data, copies);
}

void check_tensor_and_expert(Rules& rules) {
  const ParallelOptions& parallel = rules.resolved.parallel;
  const ModelOptions& model = rules.resolved.model;
  const int64_t tensor = parallel.tensor_model_parallel_size, expert = parallel.expert_model_parallel_size;
  if (tensor > 1) {
    rules.refuse(
        model.num_attention_heads % tensor != 0,
        "--num-attention-heads must be divisible by --tensor-model-parallel-size; got {} and {}; change one of "
        "them",
        model.num_attention_heads, tensor);
    const int64_t groups = model.num_query_groups;
    rules.refuse(groups % tensor != 0 && tensor % groups != 0,
                 "--num-query-groups must be a multiple or a divisor of --tensor-model-parallel-size; got {} and {}; "
                 "change one of them",
                 groups, tensor);
    const int64_t share = 2 * parallel.context_parallel_size;
    rules.refuse(
        parallel.sequence_parallel && parallel.context_parallel_size == 1 && model.seq_length % tensor != 0,
        "--sequence-parallel shares positions: --seq-length must be divisible by --tensor-model-parallel-size; "
        "got {} and {}; change one of them",
        model.seq_length, tensor);
    rules.refuse(parallel.sequence_parallel && parallel.context_parallel_size > 1 && model.seq_length % share == 0 &&
                     model.seq_length / parallel.context_parallel_size % tensor != 0,
                 "--sequence-parallel shares positions: --seq-length over --context-parallel-size must be divisible by "
                 "--tensor-model-parallel-size; got {} and {}; change one of them",
                 model.seq_length / parallel.context_parallel_size, tensor);
    rules.refuse(rules.raw.moe.num_experts > 0 && !rules.raw.parallel.sequence_parallel,
                 "experts with --tensor-model-parallel-size above 1 need --sequence-parallel; got {}; add it", tensor);
  }
  rules.refuse(expert > 1 && rules.raw.moe.num_experts > 0 && rules.raw.moe.num_experts % expert != 0,
               "--num-experts must be divisible by --expert-model-parallel-size; got {} and {}; change one of them",
               rules.raw.moe.num_experts, expert);
}

void check_context(Rules& rules) {
  const ParallelOptions& parallel = rules.raw.parallel;
  const int64_t context = parallel.context_parallel_size, layers = rules.raw.model.num_layers;
  rules.refuse(context > 1 && rules.raw.model.seq_length % (2 * context) != 0,
               "--seq-length must be divisible by twice --context-parallel-size; got {} and {}; change one of them",
               rules.raw.model.seq_length, context);
  const auto kinds = static_cast<int64_t>(parallel.cp_comm_type.size());
  rules.refuse(kinds != 1 && kinds != layers,
               "--cp-comm-type takes one value or one for each layer; got {} for {} "
               "layers; give one",
               kinds, layers);
  const auto& levels = parallel.hierarchical_context_parallel_sizes;
  const int64_t product = std::accumulate(levels.begin(), levels.end(), int64_t{1}, std::multiplies<>());
  rules.refuse(contains(parallel.cp_comm_type, "a2a+p2p") && levels.empty(),
               "--cp-comm-type a2a+p2p needs --hierarchical-context-parallel-sizes; it is not given; add it");
  rules.refuse(!levels.empty() && product != context,
               "--hierarchical-context-parallel-sizes must multiply to --context-parallel-size; got {} and {}; change "
               "one of them",
               product, context);
  const int64_t heads = rules.raw.model.num_attention_heads / std::max<int64_t>(parallel.tensor_model_parallel_size, 1);
  rules.refuse(context > 1 && contains(parallel.cp_comm_type, "a2a") && heads % context != 0,
               "--cp-comm-type a2a shares heads: heads of a tensor rank must be divisible by --context-parallel-size; "
               "got {} and {}; choose p2p",
               heads, context);
  // With fewer of them than tensor ranks, each rank has one.
  const int64_t groups = std::max<int64_t>(
      rules.resolved.model.num_query_groups / std::max<int64_t>(parallel.tensor_model_parallel_size, 1), 1);
  const int64_t inner = contains(parallel.cp_comm_type, "a2a")       ? context
                        : contains(parallel.cp_comm_type, "a2a+p2p") ? (levels.empty() ? 1 : levels.front())
                                                                     : 1;
  rules.refuse(
      context > 1 && groups % inner != 0,
      "--cp-comm-type a2a shares key/value heads too: --num-query-groups over --tensor-model-parallel-size must "
      "be divisible by the ranks that exchange heads; got {} and {}; choose p2p",
      groups, inner);
  rules.refuse(contains(parallel.cp_comm_type, "a2a+p2p") && levels.size() > 2,
               "--hierarchical-context-parallel-sizes has two levels, heads and ring; got {}; give two", levels.size());
}

void check_ranks_as_threads(Rules& rules) {
  const bool runs_ranks = rules.command == Command::kTrain || rules.command == Command::kEval ||
                          rules.command == Command::kGenerate || rules.command == Command::kParity;
  rules.refuse(rules.raw.parallel.ranks_as_threads > 1 && !runs_ranks,
               "--ranks-as-threads works with train, eval, generate, parity, golden and verify-layout; got {} with {}; "
               "drop it",
               rules.raw.parallel.ranks_as_threads, command_name(rules.command));
}

}  // namespace

void check_parallel_rules(Rules& rules) {
  check_grids(rules);
  check_ranks_as_threads(rules);
  check_tensor_and_expert(rules);
  check_context(rules);
  const ParallelOptions& parallel = rules.raw.parallel;
  rules.refuse(parallel.ddp_bucket_size > 0 && parallel.ddp_num_buckets > 0,
               "--ddp-bucket-size and --ddp-num-buckets exclude each other; both are given; drop one");
  rules.refuse(
      parallel.ddp_average_in_collective && rules.raw.model.calculate_per_token_loss,
      "--ddp-average-in-collective does not go with --calculate-per-token-loss; both are given; drop the first");
  rules.refuse(
      parallel.use_megatron_fsdp && rules.raw.optimizer.optimizer != "adam" && rules.raw.optimizer.optimizer != "sgd",
      "--use-megatron-fsdp works with adam and sgd; got --optimizer {}; choose one of those",
      rules.raw.optimizer.optimizer);
}

namespace {

void check_data_parallel_overlap(Rules& rules) {
  const ParallelOptions& parallel = rules.raw.parallel;
  const bool sharded = parallel.use_distributed_optimizer || parallel.use_megatron_fsdp;
  rules.refuse(parallel.overlap_param_gather && !sharded,
               "--overlap-param-gather needs --use-distributed-optimizer; it is not given; add it");
  rules.refuse(parallel.overlap_param_gather && !parallel.overlap_grad_reduce,
               "--overlap-param-gather needs --overlap-grad-reduce; it is not given; add it");
  rules.refuse(parallel.overlap_param_gather_with_optimizer_step && !parallel.overlap_param_gather,
               "--overlap-param-gather-with-optimizer-step needs --overlap-param-gather; it is not given; add it");
  rules.refuse(parallel.overlap_param_gather_with_optimizer_step && parallel.pipeline_model_parallel_size > 1 &&
                   virtual_pipeline_size(rules.raw) <= 1,
               "--overlap-param-gather-with-optimizer-step needs several chunks on a pipeline rank; got one; add "
               "--num-layers-per-virtual-pipeline-stage N");
}

void check_tensor_and_expert_overlap(Rules& rules) {
  const ParallelOptions& parallel = rules.raw.parallel;
  const MoeOptions& moe = rules.raw.moe;
  const bool several = parallel.world_size > 1 || parallel.tensor_model_parallel_size > 1;
  rules.refuse(
      several && parallel.tp_comm_overlap && (parallel.tensor_model_parallel_size < 2 || !parallel.sequence_parallel),
      "--tp-comm-overlap needs --tensor-model-parallel-size above 1 and --sequence-parallel; got size {}; add "
      "them or drop it",
      parallel.tensor_model_parallel_size);
  const bool overlap = parallel.overlap_moe_expert_parallel_comm;
  rules.refuse(parallel.delay_wgrad_compute && !overlap,
               "--delay-wgrad-compute needs --overlap-moe-expert-parallel-comm; it is not given; add it");
  rules.refuse(
      parallel.ep_overlap_early_attn_memory_release && !overlap,
      "--ep-overlap-early-attn-memory-release needs --overlap-moe-expert-parallel-comm; it is not given; add it");
  rules.refuse(parallel.overlap_dispatch_backward_with_experts_wgrad && (overlap || parallel.delay_wgrad_compute),
               "--overlap-dispatch-backward-with-experts-wgrad excludes --overlap-moe-expert-parallel-comm and "
               "--delay-wgrad-compute; got one of them as well; drop one side");
  rules.refuse(moe.moe_shared_expert_overlap && parallel.expert_model_parallel_size > 1 &&
                   moe.moe_token_dispatcher_type == "allgather",
               "--moe-shared-expert-overlap needs the dispatcher alltoall or flex; got --moe-token-dispatcher-type "
               "allgather; choose alltoall");
}

// Rules of the merged forward and backward of two micro-batches.
void check_merged_batches(Rules& rules) {
  const ParallelOptions& parallel = rules.raw.parallel;
  const MoeOptions& moe = rules.raw.moe;
  const MemoryOptions& memory = rules.resolved.memory;
  rules.refuse(
      moe.moe_shared_expert_overlap,
      "--overlap-moe-expert-parallel-comm excludes --moe-shared-expert-overlap; both are given; drop the second");
  rules.refuse(memory.recompute_granularity == "full" || memory.recompute_method || memory.recompute_num_layers > 0,
               "--overlap-moe-expert-parallel-comm excludes recomputation of whole layers; got "
               "--recompute-granularity full; use selective");
  rules.refuse(
      contains(memory.recompute_modules, "moe"),
      "--overlap-moe-expert-parallel-comm excludes recomputation of \"moe\"; got it in --recompute-modules; take "
      "it out");
  rules.refuse(rules.raw.attention.mtp_num_layers > 1,
               "--overlap-moe-expert-parallel-comm allows one prediction layer; got --mtp-num-layers {}; make it 1",
               rules.raw.attention.mtp_num_layers);
  const bool spread = parallel.expert_model_parallel_size > 1;
  if (parallel.world_size == 1 && !spread) return;  // nothing to hide in one process
  rules.refuse(!spread,
               "--overlap-moe-expert-parallel-comm needs --expert-model-parallel-size above 1; got 1; raise it");
  rules.refuse(moe.moe_token_dispatcher_type == "allgather",
               "--overlap-moe-expert-parallel-comm needs the dispatcher alltoall or flex; got "
               "--moe-token-dispatcher-type allgather; choose alltoall");
  rules.refuse(!rules.raw.precision.bf16 && !rules.raw.precision.fp16,
               "--overlap-moe-expert-parallel-comm needs 16-bit training; got f32; add --bf16");
  rules.refuse(parallel.pipeline_model_parallel_size > 1 && virtual_pipeline_size(rules.raw) <= 1,
               "--overlap-moe-expert-parallel-comm with a pipeline needs several chunks on a rank; got one; add "
               "--num-layers-per-virtual-pipeline-stage N");
}

}  // namespace

void check_overlap_rules(Rules& rules) {
  check_data_parallel_overlap(rules);
  check_tensor_and_expert_overlap(rules);
  if (rules.raw.parallel.overlap_moe_expert_parallel_comm) check_merged_batches(rules);
}

}  // namespace conclave

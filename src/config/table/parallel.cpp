#include "config/table/rows.h"

namespace conclave {
namespace {

void add_grid(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kParallel;
  CONCLAVE_OPTION(parallel, tensor_model_parallel_size, "Ranks that share each matrix of attention (TP).")
      .at_least(1)
      .alias("model-parallel-size");
  CONCLAVE_OPTION(parallel, pipeline_model_parallel_size, "Ranks that share the layers (PP).").at_least(1);
  CONCLAVE_OPTION(parallel, context_parallel_size, "Ranks that share the sequence (CP).").at_least(1);
  CONCLAVE_OPTION(parallel, expert_model_parallel_size, "Ranks that share the experts (EP).").at_least(1);
  CONCLAVE_OPTION(parallel, expert_tensor_parallel_size,
                  "Ranks that share each matrix of an expert (ETP). Default: TP.")
      .at_least(0);
  CONCLAVE_OPTION(parallel, cp_comm_type, "How context-parallel ranks exchange; one value or one per layer.")
      .one_of({"p2p", "all_gather", "a2a", "a2a+p2p"});
  CONCLAVE_OPTION(parallel, hierarchical_context_parallel_sizes, "Levels of a hierarchical exchange; product: CP.")
      .at_least(1);
  CONCLAVE_OPTION(parallel, sequence_parallel, "Norms and dropout share the sequence over TP; nothing to do at TP 1.");
  CONCLAVE_OPTION(parallel, ranks_per_node,
                  "Ranks of one node, for exchanges that know nodes. Default: all are on one.")
      .at_least(0);
  CONCLAVE_OPTION(parallel, use_tp_pp_dp_mapping, "Pipeline ranks are neighbours instead of data-parallel ones.");
}

void add_ranks(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kParallel;
  CONCLAVE_OPTION(parallel, ranks_as_threads,
                  "Run this many ranks as threads of one process, without a launcher; --threads is for each.")
      .at_least(1);
  CONCLAVE_OPTION(parallel, check_collectives,
                  "Ranks compare name, type and size of every exchange; a mismatch names both sides.");
  CONCLAVE_OPTION(parallel, distributed_timeout_minutes,
                  "A rank that waits longer for others ends the job and names who never came.")
      .at_least(1);
}

void add_pretended(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kParallel;
  CONCLAVE_OPTION(parallel, fake_process_group,
                  "Be one rank of --world-size on the device sim, alone: what it would hold and compute.")
      .alias("fake-init-process-group");
  CONCLAVE_OPTION(pretended, world_size,
                  "Ranks of a job that is not there. Default: WORLD_SIZE of the environment; plan: the fewest.")
      .at_least(1);
  CONCLAVE_OPTION(pretended, rank,
                  "Which of them to be. Default: RANK of the environment, else 0; plan: one of each pipeline stage.")
      .at_least(0);
}

void add_pipeline(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kParallel;
  CONCLAVE_OPTION(parallel, num_layers_per_virtual_pipeline_stage, "Layers of one model chunk.").at_least(0);
  CONCLAVE_OPTION(parallel, num_virtual_stages_per_pipeline_rank, "Model chunks of one pipeline rank.").at_least(0);
  CONCLAVE_OPTION(parallel, microbatch_group_size_per_virtual_pipeline_stage,
                  "Micro-batches that visit a chunk in a row. Default: PP.")
      .at_least(0);
  CONCLAVE_OPTION(parallel, pipeline_model_parallel_layout, "Layers of every stage, e.g. \"Et*3|(tt|)*29,m|L\".");
  CONCLAVE_OPTION(parallel, decoder_first_pipeline_num_layers, "Layers of the first pipeline rank.").at_least(0);
  CONCLAVE_OPTION(parallel, decoder_last_pipeline_num_layers, "Layers of the last pipeline rank.").at_least(0);
  CONCLAVE_OPTION(parallel, account_for_embedding_in_pipeline_split, "The embedding counts as a layer.");
  CONCLAVE_OPTION(parallel, account_for_loss_in_pipeline_split, "The loss counts as a layer.");
  CONCLAVE_OPTION(parallel, overlap_p2p_communication,
                  "Post receives between pipeline stages early, to hide them under compute.")
      .alias("overlap-p2p-comm")
      .negative("no-overlap-p2p-comm");
  CONCLAVE_OPTION(parallel, overlap_p2p_communication_warmup_flush, "The same in warm-up and cool-down.")
      .alias("overlap-p2p-comm-warmup-flush")
      .not_active();
}

void add_data_parallel(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kParallel;
  CONCLAVE_OPTION(parallel, use_distributed_optimizer, "Data-parallel ranks share the optimizer's state (ZeRO-1).");
  CONCLAVE_OPTION(parallel, num_distributed_optimizer_instances, "Copies of the shared state.").at_least(1);
  CONCLAVE_OPTION(parallel, overlap_grad_reduce, "Reduce a bucket of gradients while backward goes on.");
  CONCLAVE_OPTION(parallel, overlap_param_gather, "Gather updated weights while the next pass begins.");
  CONCLAVE_OPTION(parallel, overlap_param_gather_with_optimizer_step, "Hide it under the optimizer's step.")
      .not_active();
  CONCLAVE_OPTION(parallel, ddp_average_in_collective, "Average inside the reduction.").not_active();
  CONCLAVE_OPTION(parallel, ddp_bucket_size, "Elements of a reduction bucket.").at_least(0);
  CONCLAVE_OPTION(parallel, ddp_num_buckets, "Number of reduction buckets.").at_least(0);
  CONCLAVE_OPTION(parallel, use_megatron_fsdp, "Data-parallel ranks share the weights too.");
}

void add_overlap(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kParallel;
  CONCLAVE_OPTION(parallel, tp_comm_overlap, "Hide tensor-parallel exchanges under products.").not_active();
  CONCLAVE_OPTION(parallel, overlap_moe_expert_parallel_comm, "Hide the experts' exchange under another micro-batch.")
      .not_active();
  CONCLAVE_OPTION(parallel, delay_wgrad_compute, "Weight gradients later, to hide the exchange.").not_active();
  CONCLAVE_OPTION(parallel, ep_overlap_early_attn_memory_release, "Order of work under that overlap.").not_active();
  CONCLAVE_OPTION(parallel, overlap_dispatch_backward_with_experts_wgrad,
                  "Experts' weight gradients beside the exchange.")
      .not_active();
}

void add_communication_names(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kParallel;
  add_not_active_rows(
      rows, group,
      {{"align-grad-reduce", kFlag, "true", "Order of reductions between pipeline ranks."},
       {"align-param-gather", kFlag, "true", "Order of gathers between pipeline ranks."},
       {"create-all-gather-group", kFlag, "", "A further process group."},
       {"ddp-pad-buckets-for-high-nccl-busbw", kFlag, "", "Padding of reduction buckets."},
       {"defer-embedding-wgrad-compute", kFlag, "", "Embedding gradients later."},
       {"wgrad-deferral-limit", kInt, "0", "How many of them."},
       {"disable-symmetric-registration", kFlag, "", "Registration of communication buffers."},
       {"distributed-backend", kString, "nccl", "Another implementation's communication library."},
       {"distributed-timeout-seconds-after-init", kInt, "", "Time-out of collectives between ranks."},
       {"flight-recorder-dump-on-timeout", kFlag, "true", "Another library's trace of collectives."},
       {"flight-recorder-dump-path", kString, "", "Another library's trace of collectives."},
       {"flight-recorder-extra-dump-on-exec", kFlag, "true", "Another library's trace of collectives."},
       {"flight-recorder-include-only-active", kFlag, "true", "Another library's trace of collectives."},
       {"flight-recorder-include-stack-trace", kFlag, "", "Another library's trace of collectives."},
       {"flight-recorder-trace-buffer-size", kInt, "2000", "Another library's trace of collectives."},
       {"gradient-reduce-div-fusion", kFlag, "true", "Kernel fusion."},
       {"high-priority-stream-groups", kStringList, "", "Priority of GPU streams."},
       {"lazy-mpu-init", kFlag, "", "When process groups are made."},
       {"local-rank", kInt, "0", "Set by launchers; the environment tells."},
       {"nccl-communicator-config-path", kString, "", "Settings of a communication library."},
       {"pipeline-model-parallel-comm-backend", kString, "", "Choice of a communication library."},
       {"sharp-enabled-group", kString, "", "Reduction inside the network switch."},
       {"suggested-communication-unit-size", kInt, "", "Size of communication pieces."},
       {"tp-comm-bootstrap-backend", kString, "nccl", "Choice of a communication library."},
       {"tp-comm-bulk-dgrad", kFlag, "true", "Detail of tensor-parallel overlap."},
       {"tp-comm-bulk-wgrad", kFlag, "true", "Detail of tensor-parallel overlap."},
       {"tp-comm-overlap-ag", kFlag, "true", "Detail of tensor-parallel overlap."},
       {"tp-comm-overlap-cfg", kString, "", "Detail of tensor-parallel overlap."},
       {"tp-comm-overlap-rs", kFlag, "true", "Detail of tensor-parallel overlap."},
       {"tp-comm-overlap-rs-dgrad", kFlag, "", "Detail of tensor-parallel overlap."},
       {"tp-comm-split-ag", kFlag, "true", "Detail of tensor-parallel overlap."},
       {"tp-comm-split-rs", kFlag, "true", "Detail of tensor-parallel overlap."},
       {"use-gloo-process-groups", kFlag, "true", "Process groups for the CPU.", "disable-gloo-process-groups"},
       {"use-layer-wise-param-layout", kFlag, "true", "Memory order under a layer-wise optimizer."},
       {"use-nccl-ub", kFlag, "", "Registered communication buffers."},
       {"use-ring-exchange-p2p", kFlag, "", "Choice of a pipeline exchange."},
       {"use-sharp", kFlag, "", "Reduction inside the network switch."}});
}

}  // namespace

void add_parallel_rows(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kParallel;
  add_grid(rows);
  add_ranks(rows);
  add_pretended(rows);
  add_pipeline(rows);
  add_data_parallel(rows);
  add_overlap(rows);
  add_communication_names(rows);
  add_unavailable_rows(
      rows, group, "fully sharded data parallelism",
      {{"data-parallel-sharding-strategy", kString, "optim_grads_params", "What data-parallel ranks share."},
       {"enable-full-sharding-in-hsdp", kFlag, "", "Share over both levels."},
       {"fsdp-db-use-persist-buf-on-alloc-fail", kFlag, "", "Fallback of the double buffer."},
       {"fsdp-double-buffer", kFlag, "", "Two buffers for gathered weights."},
       {"fsdp-manual-registration", kFlag, "", "Registration of its buffers."},
       {"megatron-fsdp-enable-fine-grained-param-gather", kFlag, "", "Gather weights module by module."},
       {"megatron-fsdp-grad-comm-dtype", kString, "auto", "Dtype of reduced gradients."},
       {"megatron-fsdp-main-grads-dtype", kString, "auto", "Dtype of kept gradients."},
       {"megatron-fsdp-main-params-dtype", kString, "fp32", "Dtype of main weights."},
       {"megatron-fsdp-max-pool-double-buffer", kFlag, "", "Size of the double buffer."},
       {"megatron-fsdp-version", kInt, "1", "Version of another implementation."},
       {"outer-dp-sharding-strategy", kString, "no_shard", "What the outer level shares."},
       {"torch-fsdp2-reshard-after-forward", kFlag, "true", "Another library's sharding.",
        "torch-fsdp2-no-reshard-after-forward"},
       {"use-torch-fsdp2", kFlag, "", "Another library's sharding."}});
  add_unavailable_rows(rows, group, "shared weights by re-materialisation",
                       {{"expert-tensor-parallel-num-weight-shards", kInt, "1", "Pieces of each expert weight."},
                        {"tensor-parallel-num-weight-shards", kInt, "1", "Pieces of each weight."},
                        {"gtp-expert-remat-nccl-ub", kFlag, "", "Registered buffers."},
                        {"gtp-remat-nccl-ub", kFlag, "", "Registered buffers."},
                        {"gtp-remat-opt-in-modules", kStringList, "", "Modules that take part."},
                        {"gtp-remat-reduce-scatter-with-fp32-accumulation", kFlag, "", "Sum in f32."}});
  add_unavailable_rows(rows, group, "launching several ranks",
                       {{"nproc-per-node", kInt, "1", "Ranks of one machine."},
                        {"nnodes", kInt, "1", "Machines."},
                        {"node-rank", kInt, "0", "Number of this machine."}});
  add_not_active_rows(rows, group,
                      {{"master-addr", kString, "", "Where ranks meet; nothing to do for one rank."},
                       {"master-port", kInt, "", "Where ranks meet; nothing to do for one rank."}});
  add_unavailable_rows(
      rows, group, "further forms of parallelism",
      {{"data-parallel-random-init", kFlag, "", "Different initial weights on data-parallel ranks."},
       {"ddp-param-name-patterns-for-fp32-local-accumulation", kStringList, "", "Parameters summed in f32 locally."},
       {"ddp-reduce-scatter-with-fp32-accumulation", kFlag, "", "Reduction in f32 of 16-bit gradients."},
       {"hybrid-context-parallel", kFlag, "", "Context-parallel groups per sample."},
       {"max-seqlen-per-dp-cp-rank", kInt, "", "Longest piece of a sample per rank."},
       {"symmetric-ar-type", kString, "", "Reduction over symmetric memory."}});
}

}  // namespace conclave

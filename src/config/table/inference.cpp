// Serving and reinforcement learning: known by name only.
#include "config/table/rows.h"

namespace conclave {
namespace {

void add_serving(OptionRows& rows) {
  using enum OptionType;
  add_unavailable_rows(
      rows, OptionGroup::kOtherTasks, "a generation server",
      {{"decode-only-cuda-graphs", kFlag, "", "Graphs only while decoding."},
       {"enable-chunked-prefill", kFlag, "", "Long prompts in pieces."},
       {"flash-decode", kFlag, "", "A decoding kernel."},
       {"inference-batch-times-seqlen-threshold", kInt, "-1", "When prompts are pipelined."},
       {"inference-coordinator-port", kInt, "", "Port of the coordinator."},
       {"inference-cuda-graph-all-prefills", kFlag, "", "Graphs for prompts."},
       {"inference-cuda-graph-max-tokens", kInt, "512", "Largest graph."},
       {"inference-cuda-graph-scope", kString, "", "What a graph holds."},
       {"inference-disable-ep-consensus", kFlag, "", "Ranks do not agree on work."},
       {"inference-disable-triton-nvls-kernels", kFlag, "", "Choice of a kernel."},
       {"inference-dynamic-batching", kFlag, "", "Requests join while others run."},
       {"inference-dynamic-batching-async-sched-mode", kString, "legacy", "Scheduler."},
       {"inference-dynamic-batching-block-size", kInt, "256", "Tokens of a cache block."},
       {"inference-dynamic-batching-buffer-size-gb", kFloat, "40.0", "Size of the cache."},
       {"inference-dynamic-batching-cuda-graph-mixed-prefill-count", kInt, "16", "Prompts in a graph."},
       {"inference-dynamic-batching-cuda-graph-sizing-distribution", kString, "exponential", "Sizes of graphs."},
       {"inference-dynamic-batching-logprobs-mode", kString, "raw_logprobs", "Which log-probabilities."},
       {"inference-dynamic-batching-mamba-memory-ratio", kFloat, "", "Memory of states."},
       {"inference-dynamic-batching-max-requests", kInt, "", "Most requests."},
       {"inference-dynamic-batching-max-tokens", kInt, "", "Most tokens."},
       {"inference-dynamic-batching-num-cuda-graphs", kInt, "16", "Number of graphs."},
       {"inference-dynamic-batching-paused-buffer-size-gb", kFloat, "", "Cache of waiting requests."},
       {"inference-dynamic-batching-prefix-caching", kFlag, "", "Prompts share their beginnings."},
       {"inference-dynamic-batching-prefix-caching-coordinator-policy", kString, "load_balanced", "Where requests go."},
       {"inference-dynamic-batching-prefix-caching-eviction-policy", kString, "ref_zero", "What is dropped."},
       {"inference-dynamic-batching-prefix-caching-mamba-gb", kFloat, "", "Cache of states."},
       {"inference-dynamic-batching-prefix-caching-routing-alpha", kFloat, "0.5", "Weight of shared beginnings."},
       {"inference-dynamic-batching-sampling-backend", kString, "torch", "Choice of a sampler."},
       {"inference-dynamic-batching-track-generated-token-events", kFlag, "", "Trace of tokens."},
       {"inference-dynamic-batching-track-paused-request-events", kFlag, "", "Trace of waiting requests."},
       {"inference-dynamic-batching-unified-memory-level", kInt, "0", "Cache in unified memory."},
       {"inference-fuse-tp-communication", kFlag, "", "Fused exchange."},
       {"inference-grouped-gemm-backend", kString, "vllm", "Choice of a product."},
       {"inference-logging-step-interval", kInt, "0", "Steps between log lines."},
       {"inference-max-requests", kInt, "8", "Most requests."},
       {"inference-max-seq-length", kInt, "2560", "Longest sequence."},
       {"inference-moe-disable-fused-quant-kernels", kFlag, "", "Choice of a kernel."},
       {"inference-moe-token-dispatcher-type", kString, "nvls", "How rows reach experts."},
       {"inference-shards", kString, "", "Layout of the server."},
       {"inference-text-gen-server-logging", kFlag, "", "Log of the server."},
       {"inference-use-synchronous-zmq-collectives", kFlag, "", "How ranks talk."},
       {"inference-wandb-logging", kFlag, "", "Log of the server."},
       {"nccl-all-reduce-for-prefill", kFlag, "", "Reduction for prompts."},
       {"num-speculative-tokens", kInt, "0", "Tokens guessed ahead."},
       {"refit-method", kString, "gloo", "How new weights reach the server."},
       {"use-legacy-static-engine", kFlag, "", "An older engine."},
       {"kitchen-attention-backend", kString, "sdpa", "A library for experiments."},
       {"use-kitchen-attention", kFlag, "", "A library for experiments."},
       {"max-tokens-to-oom", kInt, "12000", "Largest request."},
       {"test-mode", kFlag, "", "A mode for tests."}});
}

void add_reinforcement_learning(OptionRows& rows) {
  using enum OptionType;
  add_unavailable_rows(rows, OptionGroup::kOtherTasks, "reinforcement learning",
                       {{"grpo-clamp-eps-lower", kFloat, "0.01", "Lower clamp of the ratio."},
                        {"grpo-clamp-eps-upper", kFloat, "0.01", "Upper clamp of the ratio."},
                        {"grpo-entropy-term-weight", kFloat, "0.0", "Weight of the entropy."},
                        {"grpo-filter-groups-with-same-reward", kFlag, "", "Leave out groups without a difference."},
                        {"grpo-group-size", kInt, "2", "Answers of a prompt."},
                        {"grpo-iterations", kInt, "2", "Updates of a batch."},
                        {"grpo-kl-beta", kFloat, "0.001", "Weight of the distance to the reference."},
                        {"grpo-prompts-per-step", kInt, "32", "Prompts of a step."},
                        {"langrl-env-config", kString, "", "Description of the environment."},
                        {"perform-rl-step", kFlag, "", "Train by reinforcement."},
                        {"rl-consumption-granularity", kString, "B", "What is trained on at a time."},
                        {"rl-default-temperature", kFloat, "1.0", "Sampling."},
                        {"rl-default-top-k", kInt, "-1", "Sampling."},
                        {"rl-default-top-p", kFloat, "0", "Sampling."},
                        {"rl-durable-rollout-bank", kFlag, "", "Answers kept on disk."},
                        {"rl-generation-lag", kFloat, "", "Age of answers."},
                        {"rl-importance-sampling-truncation-coef", kFloat, "", "Limit of the correction."},
                        {"rl-inference-expert-model-parallel-size", kInt, "", "Layout of generation."},
                        {"rl-inference-expert-tensor-model-parallel-size", kInt, "", "Layout of generation."},
                        {"rl-inference-logprobs-is-correction", kFlag, "", "Correct for the generator's numbers."},
                        {"rl-inference-model-unified-memory-level", kInt, "0", "Weights in unified memory."},
                        {"rl-inference-parsers", kStringList, "", "Readers of answers."},
                        {"rl-inference-pipeline-model-parallel-size", kInt, "", "Layout of generation."},
                        {"rl-inference-tensor-model-parallel-size", kInt, "", "Layout of generation."},
                        {"rl-kv-cache-management-mode", kString, "persist", "The cache during training."},
                        {"rl-max-inflight-requests", kInt, "", "Most requests."},
                        {"rl-offload-inference-model-weights-when-idle", kFlag, "", "Weights to the host."},
                        {"rl-offload-optimizer-during-inference", kFlag, "", "Optimizer to the host."},
                        {"rl-partial-rollouts", kFlag, "", "Go on with unfinished answers."},
                        {"rl-persist-cuda-graphs", kFlag, "", "Graphs stay."},
                        {"rl-profile", kFlag, "", "Measure generation."},
                        {"rl-profile-dir", kString, "", "Where measurements go."},
                        {"rl-prompts-per-eval", kInt, "32", "Prompts of an evaluation."},
                        {"rl-rollout-bank-dir", kString, "", "Where answers are kept."},
                        {"rl-rollout-bank-max-bytes", kInt, "0", "Most bytes of kept answers."},
                        {"rl-sequence-packing-algo", kString, "fifo", "How answers are packed."},
                        {"rl-sequence-packing-max-sequences-per-bin", kInt, "50", "How answers are packed."},
                        {"rl-skip-bos-token", kFlag, "", "No token at the beginning."},
                        {"rl-submission-granularity", kString, "B", "What is asked for at a time."},
                        {"rl-training-cuda-graphs", kFlag, "", "Graphs in training."},
                        {"rl-use-sequence-packing", kFlag, "", "Pack answers."},
                        {"rl-verify-model-weights-swap", kFlag, "", "Check new weights."}});
}

}  // namespace

void add_inference_rows(OptionRows& rows) {
  add_serving(rows);
  add_reinforcement_learning(rows);
}

}  // namespace conclave

// Rules between options that need many ranks, or features that are refused as well, with their exact texts: all that
// are found, one a line. The words are added to a valid command line with a global batch of 32.
#pragma once

#include <cstdint>

namespace conclave {

struct LayoutContradictionCase {
  int64_t world_size;
  const char* words;
  const char* texts;
};

inline constexpr LayoutContradictionCase kLayoutContradictions[] = {
    {9, "--tensor-model-parallel-size 3 --global-batch-size 36",
     "--num-attention-heads must be divisible by --tensor-model-parallel-size; got 4 and 3; change one of "
     "them\n--num-query-groups must be a multiple or a divisor of --tensor-model-parallel-size; got 4 and 3; change "
     "one of them\nexperts with --tensor-model-parallel-size above 1 need --sequence-parallel; got 3; add it"},
    {8, "--tensor-model-parallel-size 8 --sequence-parallel",
     "--num-attention-heads must be divisible by --tensor-model-parallel-size; got 4 and 8; change one of them"},
    {8, "--tensor-model-parallel-size 4 --sequence-parallel --group-query-attention --num-query-groups 2", ""},
    {6,
     "--tensor-model-parallel-size 3 --sequence-parallel --num-attention-heads 6 --hidden-size 66 "
     "--group-query-attention --num-query-groups 2",
     "--num-query-groups must be a multiple or a divisor of --tensor-model-parallel-size; got 2 and 3; change one of "
     "them\n--sequence-parallel shares positions: --seq-length must be divisible by --tensor-model-parallel-size; got "
     "32 "
     "and 3; change one of them"},
    {9, "--expert-model-parallel-size 3 --global-batch-size 36",
     "--num-experts must be divisible by --expert-model-parallel-size; got 8 and 3; change one of them"},
    {8, "--tensor-model-parallel-size 2",
     "experts with --tensor-model-parallel-size above 1 need --sequence-parallel; got 2; add it"},
    {8, "--context-parallel-size 2 --seq-length 34",
     "--seq-length must be divisible by twice --context-parallel-size; got 34 and 2; change one of them"},
    {8, "--context-parallel-size 2 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2",
     "--hierarchical-context-parallel-sizes must multiply to --context-parallel-size; got 4 and 2; change one of them"},
    {8, "--context-parallel-size 8 --cp-comm-type a2a --seq-length 64",
     "--cp-comm-type a2a shares heads: heads of a tensor rank must be divisible by --context-parallel-size; got 4 and "
     "8; choose p2p\n--cp-comm-type a2a shares key/value heads too: --num-query-groups over "
     "--tensor-model-parallel-size "
     "must be divisible by the ranks that exchange heads; got 4 and 8; choose p2p"},
    {8,
     "--tensor-model-parallel-size 4 --sequence-parallel --context-parallel-size 2 --cp-comm-type a2a "
     "--num-attention-heads 8 --kv-channels 8 --group-query-attention --num-query-groups 2",
     "--cp-comm-type a2a shares key/value heads too: --num-query-groups over --tensor-model-parallel-size must be "
     "divisible by the ranks that exchange heads; got 1 and 2; choose p2p"},
    {8, "--pipeline-model-parallel-size 2 --mtp-num-layers 1 --position-embedding-type learned_absolute",
     "--mtp-num-layers in a pipeline: the last stage has no learned positions; got --position-embedding-type "
     "learned_absolute; choose rope"},
    {8, "--tensor-model-parallel-size 3 --sequence-parallel --num-attention-heads 6 --hidden-size 66 --seq-length 33",
     "the number of ranks must be divisible by tensor * context * pipeline size; got 8 ranks and 3; start another "
     "number "
     "of ranks\nthe number of ranks must be divisible by expert tensor * expert * pipeline size; got 8 ranks and 3; "
     "start "
     "another number of ranks"},
    {8, "--pipeline-model-parallel-size 4 --num-layers-per-virtual-pipeline-stage 3",
     "--num-layers-per-virtual-pipeline-stage must divide the layers of a pipeline rank; got 3 for 4 layers on 4 "
     "ranks; choose from 1"},
    {9, "--pipeline-model-parallel-size 3 --global-batch-size 36",
     "--num-layers (with embedding and loss where they count) must be divisible by --pipeline-model-parallel-size; got "
     "4 and 3; change one of them or use --decoder-first-pipeline-num-layers"},
    {8,
     "--pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2 --no-overlap-p2p-communication "
     "--global-batch-size 32",
     "several chunks on a pipeline rank without overlapped sends need --pipeline-model-parallel-size above 2; got 2; "
     "drop --no-overlap-p2p-communication"},
    {8, "--pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2 --global-batch-size 8",
     "--microbatch-group-size-per-virtual-pipeline-stage must be between --pipeline-model-parallel-size (2) and the "
     "micro-batches of a step (1); got 2; change it or the batch\nthe last group of micro-batches must hold at least "
     "--pipeline-model-parallel-size of them; got 1 of 1 in groups of 2; change the batch or "
     "--microbatch-group-size-per-virtual-pipeline-stage"},
    {8, "--pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 3 --global-batch-size 32",
     "the layers of a rank must be divisible by its chunks; got 2 and 3; choose "
     "--num-virtual-stages-per-pipeline-rank from 1, 2"},
    {8, "--pipeline-model-parallel-size 2 --num-layers-per-virtual-pipeline-stage 4",
     "--num-layers-per-virtual-pipeline-stage must divide the layers of a pipeline rank; got 4 for 4 layers on 2 "
     "ranks; choose from 1, 2"},
    {9, "--pipeline-model-parallel-size 3 --num-layers-per-virtual-pipeline-stage 1 --global-batch-size 36",
     "--num-layers-per-virtual-pipeline-stage must divide the layers of a pipeline rank; got 1 for 4 layers on 3 "
     "ranks; first choose --pipeline-model-parallel-size from 1, 2, 4"},
    {8,
     "--pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2 --global-batch-size 40 "
     "--microbatch-group-size-per-virtual-pipeline-stage 4",
     "the last group of micro-batches must hold at least --pipeline-model-parallel-size of them; got 1 of 5 in groups "
     "of 4; change the batch or --microbatch-group-size-per-virtual-pipeline-stage"},
    {8, "--pipeline-model-parallel-size 4 --decoder-first-pipeline-num-layers 2",
     "layers left by --decoder-first/last-pipeline-num-layers must spread evenly over the ranks left; got 2 layers for "
     "3 ranks; change the counts"},
    {8,
     "--pipeline-model-parallel-size 4 --decoder-first-pipeline-num-layers 1 --num-layers-per-virtual-pipeline-stage 1",
     "--decoder-first/last-pipeline-num-layers with chunks needs --num-virtual-stages-per-pipeline-rank; got "
     "--num-layers-per-virtual-pipeline-stage; replace it"},
    {8,
     "--pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2 --decoder-first-pipeline-num-layers 1 "
     "--global-batch-size 32",
     "with 2 chunks on a rank the layers of each rank must be a multiple of that; got 1 first, 3 in the middle, 0 "
     "last; change the counts"},
    {8, "--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et|t|ttL",
     "--pipeline-model-parallel-layout must have a multiple of --pipeline-model-parallel-size stages; got 3 stages for "
     "2 ranks; separate stages by '|'"},
    {8, "--tp-comm-overlap",
     "--tp-comm-overlap needs --tensor-model-parallel-size above 1 and --sequence-parallel; got size 1; add them or "
     "drop it"},
    {8, "--overlap-moe-expert-parallel-comm",
     "--overlap-moe-expert-parallel-comm needs --expert-model-parallel-size above 1; got 1; raise "
     "it\n--overlap-moe-expert-parallel-comm needs the dispatcher alltoall or flex; got --moe-token-dispatcher-type "
     "allgather; choose alltoall\n--overlap-moe-expert-parallel-comm needs 16-bit training; got f32; add --bf16"},
    {8, "--overlap-moe-expert-parallel-comm --expert-model-parallel-size 2 --bf16",
     "--overlap-moe-expert-parallel-comm needs the dispatcher alltoall or flex; got --moe-token-dispatcher-type "
     "allgather; choose alltoall"},
    {8, "--overlap-moe-expert-parallel-comm --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall",
     "--overlap-moe-expert-parallel-comm needs 16-bit training; got f32; add --bf16"},
    {8,
     "--overlap-moe-expert-parallel-comm --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall --bf16 "
     "--pipeline-model-parallel-size 2",
     "--overlap-moe-expert-parallel-comm with a pipeline needs several chunks on a rank; got one; add "
     "--num-layers-per-virtual-pipeline-stage N"},
    {8,
     "--overlap-moe-expert-parallel-comm --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall --bf16 "
     "--recompute-granularity selective --recompute-modules moe",
     "--overlap-moe-expert-parallel-comm excludes recomputation of \"moe\"; got it in --recompute-modules; take it "
     "out"},
    {8,
     "--overlap-moe-expert-parallel-comm --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall --bf16 "
     "--mtp-num-layers 2",
     "--overlap-moe-expert-parallel-comm allows one prediction layer; got --mtp-num-layers 2; make it 1"},
    {8, "--moe-shared-expert-overlap --moe-shared-expert-intermediate-size 8 --expert-model-parallel-size 2",
     "--moe-shared-expert-overlap needs the dispatcher alltoall or flex; got --moe-token-dispatcher-type allgather; "
     "choose alltoall"},
    {8,
     "--overlap-param-gather-with-optimizer-step --overlap-param-gather --overlap-grad-reduce "
     "--use-distributed-optimizer --pipeline-model-parallel-size 2",
     "--overlap-param-gather-with-optimizer-step needs several chunks on a pipeline rank; got one; add "
     "--num-layers-per-virtual-pipeline-stage N"},
    {8, "--expert-tensor-parallel-size 2 --add-bias-linear",
     "biases in experts need --expert-tensor-parallel-size 1; got 2; add --disable-bias-linear or change it"},
    {8, "--use-megatron-fsdp --optimizer muon",
     "--use-megatron-fsdp works with adam and sgd; got --optimizer muon; choose one of those"},
    {8, "--expert-model-parallel-size 2 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend ncclep",
     "--moe-flex-dispatcher-backend ncclep is not there for --expert-model-parallel-size above 1; got 2; choose deepep "
     "or hybridep"},
    {8, "--distribute-saved-activations",
     "--distribute-saved-activations needs --recompute-granularity full and --tensor-model-parallel-size above 1; drop "
     "it"},
    {8, "--fp8-param-gather",
     "--fp8-param-gather needs --fp8-format; it is not given; add it\n--fp8-param-gather needs "
     "--use-distributed-optimizer; it is not given; add it"},
    {8, "--fp8-param-gather --fp8-format e4m3",
     "--fp8-param-gather needs --use-distributed-optimizer; it is not given; add it"},
    {8, "--fp8-format e4m3 --fp4-format e2m1",
     "--fp8-format and --fp4-format exclude each other; both are given; drop one"},
    {8, "--reuse-grad-buf-for-mxfp8-param-ag",
     "--reuse-grad-buf-for-mxfp8-param-ag needs --fp8-param-gather; it is not given; add it"},
    {8, "--fp8-format e4m3 --first-last-layers-bf16",
     "--first-last-layers-bf16 excludes --fp8-recipe delayed; both are given; choose another recipe"},
    {8, "--fp8-format e4m3 --fp8-recipe blockwise --first-last-layers-bf16 --num-layers-at-start-in-bf16 5",
     "--num-layers-at-start-in-bf16 and --num-layers-at-end-in-bf16 must be at most the layers of a pipeline rank; got "
     "5, 1 and 4; lower them"},
    {8, "--fp8-format e4m3 --recompute-granularity selective --recompute-modules moe_act",
     "--fp8-recipe delayed excludes recomputation of moe_act and layernorm; got moe_act; choose another recipe"},
    {8, "--use-precision-aware-optimizer",
     "--use-precision-aware-optimizer needs --optimizer adam and --use-distributed-optimizer; got adam without it; add "
     "them"},
    {8, "--exp-avg-dtype bf16",
     "--main-grads-dtype, --main-params-dtype, --exp-avg-dtype and --exp-avg-sq-dtype other than fp32 need "
     "--use-precision-aware-optimizer; it is not given; add it"},
    {8, "--grad-reduce-in-bf16 --accumulate-allreduce-grads-in-fp32",
     "--grad-reduce-in-bf16 and --accumulate-allreduce-grads-in-fp32 exclude each other; both are given; drop one"},
    {8, "--bf16 --fp16", "--bf16 and --fp16 exclude each other; both are given; drop one"},
    {8, "--moe-router-padding-for-fp8 --moe-token-dispatcher-type alltoall",
     "--moe-router-padding-for-quantization needs --fp8-format or --fp4-format; neither is given; drop it"},
    {8, "--moe-router-padding-for-fp8 --fp8-format e4m3",
     "--moe-router-padding-for-quantization needs the dispatcher alltoall or flex; got --moe-token-dispatcher-type "
     "allgather; choose alltoall"},
    {8, "--fine-grained-activation-offloading",
     "--fine-grained-activation-offloading needs --offload-modules; none are named; add them"},
    {8, "--offload-modules core_attn",
     "--offload-modules needs --fine-grained-activation-offloading; it is not given; add it"},
    {8, "--fine-grained-activation-offloading --offload-modules attn_proj",
     "--offload-modules attn_proj needs core_attn; it is not named; add it"},
    {8,
     "--fine-grained-activation-offloading --offload-modules expert_fc1 --recompute-granularity selective "
     "--recompute-modules moe",
     "--offload-modules expert_fc1 and moe_act exclude recomputation of \"moe\"; both are given; drop one"},
    {8, "--fine-grained-activation-offloading --offload-modules fused_group_mlp moe_act",
     "--offload-modules fused_group_mlp excludes expert_fc1 and moe_act; both are named; drop one side"},
    {8, "--optimizer-cpu-offload",
     "--optimizer-cpu-offload needs --use-precision-aware-optimizer; it is not given; add it"},
    {8, "--recompute-granularity selective --recompute-modules mla_up_proj",
     "--recompute-modules mla_up_proj needs --multi-latent-attention; it is not given; take the module out"},
    {8,
     "--recompute-granularity selective --recompute-modules shared_experts --moe-shared-expert-overlap "
     "--moe-shared-expert-intermediate-size 8",
     "--recompute-modules shared_experts excludes --moe-shared-expert-overlap; both are given; drop one"},
    {8, "--recompute-granularity selective --recompute-modules mhc mlp",
     "--recompute-modules mhc excludes mlp; both are named; drop one"},
    {8, "--moe-layer-recompute --recompute-granularity full --recompute-method block --recompute-num-layers 1",
     "--moe-layer-recompute means selective recomputation; got --recompute-granularity full as well; drop one of them"},
    {8, "--multi-latent-attention --group-query-attention",
     "--multi-latent-attention and --group-query-attention exclude each other; both are given; drop one"},
    {8, "--multi-latent-attention --rotary-interleaved",
     "--multi-latent-attention has its own rotation; got --rotary-interleaved; drop it"},
    {8, "--multi-latent-attention --attention-output-gate",
     "--attention-output-gate does not go with --multi-latent-attention; both are given; drop one"},
    {8, "--multi-latent-attention --position-embedding-type yarn",
     "--multi-latent-attention takes YaRN by --rope-type; got --position-embedding-type yarn; write rope"},
    {8, "--rope-scaling-low-freq-factor 4",
     "--rope-scaling-high-freq-factor must be above --rope-scaling-low-freq-factor; got 4 and 4; change one"},
    {8, "--moe-router-norm-topk-prob never",
     "--moe-router-norm-topk-prob never contradicts a softmax after the choice; leave it out"},
    {8, "--moe-router-norm-topk-prob always --moe-router-pre-softmax",
     "--moe-router-norm-topk-prob always contradicts a softmax before the choice; leave it out"},
    {8, "--moe-router-num-groups 8 --moe-router-group-topk 2 --moe-router-group-score top2_sum",
     "--moe-router-group-score top2_sum needs two experts in a group; got 1; use fewer groups"},
    {8, "--multi-latent-attention --qk-pos-emb-head-dim 7",
     "--qk-pos-emb-head-dim must be even: rotation turns pairs; got 7; change it"},
    {8, "--experimental-attention-variant dsa",
     "--experimental-attention-variant dsa needs --multi-latent-attention; it is not given; add it"},
    {8, "--linear-attention-freq 2",
     "--linear-attention-freq needs a linear attention; got --experimental-attention-variant none; choose gdn"},
    {8, "--linear-num-value-heads 24",
     "--linear-num-value-heads must be divisible by --linear-num-key-heads; got 24 and 16; change one of them"},
    {8, "--moe-use-upcycling", "--moe-use-upcycling needs --save; it is not given; add --save DIR"},
    {8, "--moe-apply-probs-on-input",
     "--moe-apply-probs-on-input needs --moe-router-topk 1; got 2; change one of them"},
    {8, "--moe-latent-size 8 --moe-shared-expert-overlap --moe-shared-expert-intermediate-size 8",
     "--moe-shared-expert-overlap does not go with --moe-latent-size; both are given; drop one"},
    {8, "--decoupled-min-lr 0", "--decoupled-min-lr needs --decoupled-lr; it is not given; add it"},
    {8, "--moe-router-load-balancing-type quantile_balancing --moe-router-fusion",
     "--moe-router-load-balancing-type quantile_balancing goes without router fusion and groups; drop "
     "--moe-router-fusion and --moe-router-group-topk"},
    {8,
     "--cuda-graph-impl transformer_engine --cuda-graph-modules moe_router --recompute-granularity selective "
     "--recompute-modules moe --attention-dropout 0 --hidden-dropout 0",
     "--cuda-graph-impl transformer_engine with moe_router excludes recomputation of \"moe\"; both are given; drop "
     "one"},
    {8, "--cuda-graph-impl full_iteration --no-check-for-nan-in-loss-and-grad --fp8-format e4m3",
     "--cuda-graph-impl full_iteration with FP8 needs --fp8-recipe mxfp8; got delayed; change it"},
};

}  // namespace conclave

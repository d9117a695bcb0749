// Every rule between options, with its exact text. The words are added to a valid command line.
#pragma once

namespace conclave {

struct ContradictionCase {
  const char* words;
  const char* text;
};

inline constexpr ContradictionCase kModelCases[] = {
    {"--num-attention-heads 3",
     "--hidden-size must be divisible by --num-attention-heads unless --kv-channels is given; got 64 and 3; change one "
     "of them or add --kv-channels N"},
    {"--group-query-attention --num-query-groups 3",
     "--num-query-groups must divide --num-attention-heads; got 3 and 4; change one of them"},
    {"--rotary-percent 0.1 --position-embedding-type rope",
     "rotary positions turn pairs: head size times --rotary-percent must be even and above 0; got 16 * 0.1; change "
     "--kv-channels or --rotary-percent"},
    {"--max-position-embeddings 16",
     "--max-position-embeddings must be at least --seq-length; got 16 and 32; raise the first or lower the second"},
    {"--no-position-embedding",
     "--no-position-embedding is legal only with rotary positions or none; got --position-embedding-type "
     "learned_absolute; add --position-embedding-type rope"},
    {"--use-rotary-position-embeddings --position-embedding-type none",
     "--use-rotary-position-embeddings means --position-embedding-type rope; got none as well; drop one of them"},
    {"--use-rope-scaling",
     "--use-rope-scaling scales rotary positions; got --position-embedding-type learned_absolute; add "
     "--position-embedding-type rope"},
    {"--rotary-seq-len-interpolation-factor 2",
     "--rotary-seq-len-interpolation-factor scales rotary positions; got --position-embedding-type learned_absolute; "
     "add --position-embedding-type rope"},
    {"--swiglu --squared-relu", "an MLP has one activation; got --swiglu and --squared-relu; keep one of them"},
    {"--geglu --quick-geglu --openai-gelu",
     "an MLP has one activation; got --geglu and --quick-geglu and --openai-gelu; keep one of them"},
    {"--activation-func-clamp-value 7",
     "--activation-func-clamp-value needs a gated activation; got 7; add --swiglu, --geglu or --quick-geglu"},
    {"--glu-linear-offset 1",
     "--glu-linear-offset needs a gated activation; got 1; add --swiglu, --geglu or --quick-geglu"},
    {"--attention-dropout 1", "--attention-dropout must be below 1; got 1; nothing would be left"},
    {"--hidden-dropout 1", "--hidden-dropout must be below 1; got 1; nothing would be left"},
    {"--padded-vocab-size 99",
     "--padded-vocab-size must be at least --vocab-size; got 99 and 100; leave the first out"},
    {"--window-attn-skip-freq 2",
     "--window-attn-skip-freq needs --window-size; it is not given; add --window-size LEFT,RIGHT"},
    {"--window-size 16,2", "--window-size LEFT,RIGHT: a causal model sees nothing to the right; got 16,2; write 16,0"},
    {"--window-size 16,0 --window-attn-skip-freq [1,0]",
     "--window-attn-skip-freq must name every layer; got 2 entries for 4 layers; make the list 4 long"},
    {"--window-size 16,0 --window-attn-skip-freq 0",
     "--window-attn-skip-freq must be at least 1; got 0; leave it out for no exception"},
};

inline constexpr ContradictionCase kExpertsCases[] = {
    {"--num-experts 0 --moe-ffn-hidden-size 32",
     "--moe-ffn-hidden-size needs experts; --num-experts is not given; add --num-experts N"},
    {"--num-experts 0 --moe-shared-expert-intermediate-size 32",
     "--moe-shared-expert-intermediate-size needs experts; --num-experts is not given; add --num-experts N"},
    {"--num-experts 0 --moe-router-enable-expert-bias",
     "--moe-router-enable-expert-bias needs experts; --num-experts is not given; add --num-experts N"},
    {"--num-experts 0 --moe-expert-capacity-factor 1",
     "--moe-expert-capacity-factor needs experts; --num-experts is not given; add --num-experts N"},
    {"--num-experts 0 --activation-func-clamp-value 7 --swiglu",
     "--activation-func-clamp-value needs experts; --num-experts is not given; add --num-experts N"},
    {"--moe-router-topk 9", "--moe-router-topk must be at most --num-experts; got 9 and 8; lower the first"},
    {"--moe-router-topk 1",
     "--moe-router-topk 1 with softmax over one expert has no gradient; softmax comes after the choice; add "
     "--moe-router-pre-softmax"},
    {"--moe-router-enable-expert-bias",
     "--moe-router-enable-expert-bias works with score functions sigmoid and sqrtsoftplus; got "
     "--moe-router-score-function softmax; choose one of those or drop the bias"},
    {"--moe-router-group-topk 2", "--moe-router-group-topk needs --moe-router-num-groups; got 2 without it; add it"},
    {"--moe-router-group-topk 2 --moe-router-num-groups 3",
     "--num-experts must be divisible by --moe-router-num-groups; got 8 and 3; change one of them"},
    {"--moe-router-group-topk 5 --moe-router-num-groups 4 --moe-router-topk 5",
     "--moe-router-group-topk must be at most --moe-router-num-groups; got 5 and 4; lower the first"},
    {"--moe-router-group-topk 3 --moe-router-num-groups 4",
     "--moe-router-topk must be at least --moe-router-group-topk, or every group scores 0; got 2 and 3; lower the "
     "second"},
    {"--moe-router-group-topk 1 --moe-router-num-groups 8",
     "2 problems in the options:\n  1. a group is scored by its best --moe-router-topk / --moe-router-group-topk "
     "experts; got 2 of 1 in a group; use fewer groups or choose more of them\n  2. the chosen groups must hold "
     "--moe-router-topk experts; got 1 groups of 1 for 2; choose more groups"},
    {"--moe-router-group-topk 2 --moe-router-num-groups 8 --moe-router-topk 3",
     "the chosen groups must hold --moe-router-topk experts; got 2 groups of 1 for 3; choose more groups"},
    {"--moe-router-load-balancing-type aux_loss seq_aux_loss --moe-aux-loss-coeff 0.1",
     "--moe-aux-loss-coeff needs one value for each --moe-router-load-balancing-type; got 1 and 2; make the lists "
     "equally long"},
    {"--moe-aux-loss-coeff 0.1 0.2",
     "--moe-aux-loss-coeff needs one value for each --moe-router-load-balancing-type; got 2 and 1; make the lists "
     "equally long"},
    {"--moe-router-load-balancing-type aux_loss sinkhorn --moe-aux-loss-coeff 0 0",
     "--moe-router-load-balancing-type sinkhorn stands alone; got aux_loss sinkhorn; name losses only, or sinkhorn "
     "only"},
    {"--moe-router-load-balancing-type none aux_loss --moe-aux-loss-coeff 0 0",
     "--moe-router-load-balancing-type none stands alone; got none aux_loss; name losses only, or none only"},
    {"--moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff 0.01",
     "--moe-router-load-balancing-type sinkhorn takes no auxiliary loss; got --moe-aux-loss-coeff 0.01; make it 0"},
    {"--moe-router-load-balancing-type sinkhorn --moe-expert-capacity-factor 1",
     "--moe-expert-capacity-factor works with auxiliary losses or none; got --moe-router-load-balancing-type sinkhorn; "
     "drop one of them"},
    {"--moe-pad-expert-input-to-capacity",
     "--moe-pad-expert-input-to-capacity needs --moe-expert-capacity-factor; it is not given; add it"},
    {"--moe-pad-expert-input-to-capacity --moe-expert-capacity-factor 1 --moe-token-dispatcher-type flex",
     "--moe-pad-expert-input-to-capacity does not go with the flex dispatcher's deepep; both are given; choose another "
     "--moe-token-dispatcher-type"},
    {"--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend ncclep --moe-expert-capacity-factor 1",
     "--moe-flex-dispatcher-backend ncclep has no capacity; got --moe-expert-capacity-factor; drop one"},
    {"--moe-enable-deepep", "--moe-enable-deepep needs --moe-token-dispatcher-type flex; got allgather; change it"},
    {"--moe-enable-deepep --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend hybridep",
     "--moe-enable-deepep means --moe-flex-dispatcher-backend deepep; got hybridep as well; drop one of them"},
    {"--moe-shared-expert-gate",
     "--moe-shared-expert-gate needs --moe-shared-expert-intermediate-size; it is not given; add it"},
    {"--moe-shared-expert-intermediate-size 32 --add-bias-linear",
     "shared experts have no biases; linear biases are on; add --disable-bias-linear"},
    {"--moe-layer-freq [0,1]",
     "--moe-layer-freq must name every layer; got 2 entries for 4 layers; make the list 4 long"},
    {"--moe-layer-freq [0,1,1,2]", "--moe-layer-freq may hold 0 and 1 only; got 2 for layer 3; change that entry"},
    {"--moe-layer-freq 0", "--moe-layer-freq must be at least 1; got 0; write 1 for every layer"},
    {"--moe-layer-freq ([0]*1+[1]*3",
     "--moe-layer-freq: ')' is missing at character 13 of '([0]*1+[1]*3'; write a list such as \"[0,1,1]\" or "
     "\"([0]*3+[1]*58)\""},
};

inline constexpr ContradictionCase kLayoutCases[] = {
    {"--num-distributed-optimizer-instances 2",
     "--num-distributed-optimizer-instances must divide the data-parallel size (1) and the experts' (1); got 2; choose "
     "a divisor"},
    {"--ddp-bucket-size 10 --ddp-num-buckets 2",
     "--ddp-bucket-size and --ddp-num-buckets exclude each other; both are given; drop one"},
    {"--ddp-average-in-collective --calculate-per-token-loss",
     "--ddp-average-in-collective does not go with --calculate-per-token-loss; both are given; drop the first"},
    {"--overlap-param-gather --overlap-grad-reduce",
     "--overlap-param-gather needs --use-distributed-optimizer; it is not given; add it"},
    {"--overlap-param-gather --use-distributed-optimizer",
     "--overlap-param-gather needs --overlap-grad-reduce; it is not given; add it"},
    {"--overlap-param-gather-with-optimizer-step",
     "--overlap-param-gather-with-optimizer-step needs --overlap-param-gather; it is not given; add it"},
    {"--delay-wgrad-compute",
     "--delay-wgrad-compute needs --overlap-moe-expert-parallel-comm; it is not given; add it"},
    {"--ep-overlap-early-attn-memory-release",
     "--ep-overlap-early-attn-memory-release needs --overlap-moe-expert-parallel-comm; it is not given; add it"},
    {"--overlap-dispatch-backward-with-experts-wgrad --overlap-moe-expert-parallel-comm",
     "--overlap-dispatch-backward-with-experts-wgrad excludes --overlap-moe-expert-parallel-comm and "
     "--delay-wgrad-compute; got one of them as well; drop one side"},
    {"--overlap-moe-expert-parallel-comm --moe-shared-expert-overlap",
     "--overlap-moe-expert-parallel-comm excludes --moe-shared-expert-overlap; both are given; drop the second"},
    {"--overlap-moe-expert-parallel-comm --recompute-granularity full --recompute-method block --recompute-num-layers "
     "1",
     "--overlap-moe-expert-parallel-comm excludes recomputation of whole layers; got --recompute-granularity full; use "
     "selective"},
    {"--cp-comm-type p2p a2a", "--cp-comm-type takes one value or one for each layer; got 2 for 4 layers; give one"},
    {"--cp-comm-type a2a+p2p",
     "--cp-comm-type a2a+p2p needs --hierarchical-context-parallel-sizes; it is not given; add it"},
    {"--num-layers-per-virtual-pipeline-stage 2",
     "several chunks on a pipeline rank need --pipeline-model-parallel-size above 1; got 1 and 2 chunks; raise it or "
     "drop --num-layers-per-virtual-pipeline-stage and its like"},
    {"--num-virtual-stages-per-pipeline-rank 2",
     "several chunks on a pipeline rank need --pipeline-model-parallel-size above 1; got 1 and 2 chunks; raise it or "
     "drop --num-layers-per-virtual-pipeline-stage and its like"},
    {"--num-virtual-stages-per-pipeline-rank 1 --num-layers-per-virtual-pipeline-stage 4",
     "at most one option gives the chunks of a pipeline rank; got --num-layers-per-virtual-pipeline-stage and "
     "--num-virtual-stages-per-pipeline-rank; keep one"},
    {"--decoder-first-pipeline-num-layers 2 --account-for-loss-in-pipeline-split",
     "--decoder-first/last-pipeline-num-layers and --account-for-embedding/loss-in-pipeline-split exclude each other; "
     "both are given; drop one kind"},
    {"--decoder-first-pipeline-num-layers 2",
     "layers left by --decoder-first/last-pipeline-num-layers must spread evenly over the ranks left; got 2 layers for "
     "0 ranks; change the counts"},
    {"--pipeline-model-parallel-layout Et*4L --account-for-loss-in-pipeline-split",
     "--pipeline-model-parallel-layout says where every layer is; got another way of splitting as well; drop one"},
    {"--pipeline-model-parallel-layout Et*3L",
     "--pipeline-model-parallel-layout must hold one t for each of --num-layers; got 3 and 4; change one of them"},
    {"--pipeline-model-parallel-layout Et*2|ttL",
     "several chunks on a pipeline rank need --pipeline-model-parallel-size above 1; got 1 and 2 chunks; raise it or "
     "drop --num-layers-per-virtual-pipeline-stage and its like"},
    {"--pipeline-model-parallel-layout Et*2xL",
     "--pipeline-model-parallel-layout: stages hold E (embedding), t (decoder), m (prediction), L (loss) only, not "
     "'x'; got 'Et*2xL'; write stages such as \"Et*3|(tt|)*29,m|L\""},
    {"--pipeline-model-parallel-layout tt",
     "--pipeline-model-parallel-layout: it must begin with its only E; got 'tt'; write stages such as "
     "\"Et*3|(tt|)*29,m|L\""},
    {"--pipeline-model-parallel-layout E(t*2L",
     "--pipeline-model-parallel-layout: a '(' is not closed; got 'E(t*2L'; write stages such as \"Et*3|(tt|)*29,m|L\""},
};

inline constexpr ContradictionCase kMemoryCases[] = {
    {"--recompute-granularity full",
     "2 problems in the options:\n  1. --recompute-granularity full needs --recompute-method; it is not given; add "
     "uniform or block\n  2. --recompute-granularity full needs --recompute-num-layers; it is not given; add "
     "--recompute-num-layers N"},
    {"--recompute-granularity full --recompute-method block",
     "--recompute-granularity full needs --recompute-num-layers; it is not given; add --recompute-num-layers N"},
    {"--recompute-granularity full --recompute-method block --recompute-num-layers 5",
     "--recompute-num-layers must be at most the layers of a pipeline rank; got 5 and 4; lower it"},
    {"--recompute-granularity full --recompute-method block --recompute-num-layers 1 --recompute-activations",
     "--recompute-activations means selective recomputation; got --recompute-granularity full as well; drop one of "
     "them"},
    {"--recompute-granularity full --recompute-method block --recompute-num-layers 1 --recompute-modules core_attn",
     "--recompute-modules counts with --recompute-granularity selective only; got full; drop one of them"},
    {"--recompute-granularity selective --recompute-method block",
     "--recompute-method counts with --recompute-granularity full only; got selective; drop it"},
    {"--recompute-granularity selective --recompute-num-layers 1",
     "--recompute-num-layers counts with --recompute-granularity full only; got selective; drop it"},
    {"--recompute-modules core_attn",
     "--recompute-modules needs --recompute-granularity selective; it is not given; add it"},
    {"--recompute-method block", "--recompute-method needs --recompute-granularity full; it is not given; add it"},
    {"--recompute-num-layers 2", "--recompute-num-layers needs --recompute-granularity full; it is not given; add it"},
    {"--enable-cuda-graph --external-cuda-graph",
     "--enable-cuda-graph and --external-cuda-graph exclude each other; both are given; use --cuda-graph-impl"},
    {"--enable-cuda-graph --cuda-graph-impl transformer_engine",
     "--enable-cuda-graph means --cuda-graph-impl local; got transformer_engine as well; drop one of them"},
    {"--external-cuda-graph --cuda-graph-impl local",
     "--external-cuda-graph means --cuda-graph-impl transformer_engine; got local as well; drop one of them"},
    {"--cuda-graph-modules attn --cuda-graph-scope attn",
     "--cuda-graph-scope is the older name of --cuda-graph-modules; both are given; drop the first"},
    {"--cuda-graph-impl local --cuda-graph-modules moe",
     "--cuda-graph-modules moe needs --moe-expert-capacity-factor and --moe-pad-expert-input-to-capacity; they are not "
     "given; add them or record moe_router only"},
    {"--cuda-graph-impl local --cuda-graph-modules moe moe_router --moe-expert-capacity-factor 1 "
     "--moe-pad-expert-input-to-capacity",
     "--cuda-graph-modules moe and moe_router exclude each other; both are named; drop one"},
    {"--cuda-graph-impl local --cuda-graph-modules moe_preprocess",
     "--cuda-graph-modules moe_preprocess needs moe_router; it is not named; add it"},
    {"--cuda-graph-impl local --cuda-graph-modules moe_router moe_preprocess --moe-token-dispatcher-type alltoall "
     "--moe-expert-capacity-factor 1",
     "--cuda-graph-modules moe_preprocess with alltoall excludes capacity factors and routing-map padding; got one of "
     "them; take moe_preprocess out"},
    {"--cuda-graph-impl local --cuda-graph-modules moe_router --num-experts 0",
     "--cuda-graph-modules moe_router needs experts; --num-experts is not given; take it out"},
    {"--cuda-graph-impl local --cuda-graph-modules mlp",
     "--cuda-graph-modules mlp needs a dense layer; every layer has experts; take it out"},
    {"--cuda-graph-impl local --cuda-graph-modules full attn",
     "--cuda-graph-modules full and full_iteration stand alone; got full attn; keep one"},
    {"--cuda-graph-impl local --recompute-granularity full --recompute-method block --recompute-num-layers 1 "
     "--attention-dropout 0 --hidden-dropout 0",
     "--cuda-graph-impl local excludes --recompute-granularity full; both are given; use selective"},
    {"--cuda-graph-impl local --recompute-granularity selective",
     "recorded recomputation excludes dropout and input jitter; got --attention-dropout 0.1, --hidden-dropout 0.1, "
     "--moe-input-jitter-eps 0; make them 0"},
    {"--cuda-graph-impl full_iteration",
     "--cuda-graph-impl full_iteration excludes the search for NaN; it is on; add --no-check-for-nan-in-loss-and-grad"},
    {"--cuda-graph-impl full_iteration --no-check-for-nan-in-loss-and-grad --cuda-graph-modules attn",
     "--cuda-graph-impl full_iteration records everything; got --cuda-graph-modules attn; drop them"},
    {"--overlap-moe-expert-parallel-comm --cuda-graph-impl transformer_engine --cuda-graph-modules mlp "
     "--moe-layer-freq 2",
     "--overlap-moe-expert-parallel-comm excludes --cuda-graph-modules moe and mlp; got mlp; take them out"},
};

inline constexpr ContradictionCase kTrainingCases[] = {
    {"--train-iters 0",
     "the length of training is required; neither --train-iters nor --train-samples is given; add one"},
    {"--train-samples 100", "--train-iters and --train-samples exclude each other; got 10 and 100; drop one"},
    {"--global-batch-size 3",
     "--global-batch-size must be divisible by --micro-batch-size times the data-parallel size; got 3 and 2; change "
     "one of them"},
    {"--global-batch-size 1 --decrease-batch-size-if-needed",
     "--global-batch-size must be at least --micro-batch-size times the data-parallel size; got 1 and 2; raise it"},
    {"--step-batch-size-schedule 64:8",
     "--step-batch-size-schedule: the first threshold must be 0; got '64:8'; begin with 0:SIZE"},
    {"--step-batch-size-schedule 0:8 --global-batch-size 8",
     "--step-batch-size-schedule replaces --global-batch-size; both are given; drop the second"},
    {"--step-batch-size-schedule 0:8 --rampup-batch-size 2 2 10",
     "2 problems in the options:\n  1. --step-batch-size-schedule and --rampup-batch-size exclude each other; both are "
     "given; drop one\n  2. --rampup-batch-size needs --global-batch-size; it is not given; add it"},
    {"--eval-global-batch-size 3",
     "--eval-global-batch-size must be divisible by --eval-micro-batch-size times the data-parallel size; got 3 and 2; "
     "change one of them"},
    {"--rampup-batch-size 2 2 10", "--rampup-batch-size needs --global-batch-size; it is not given; add it"},
    {"--rampup-batch-size 0 2 10 --global-batch-size 8",
     "--rampup-batch-size START INCREMENT SAMPLES: start and increment must be above 0; got 0 and 2; raise them"},
    {"--rampup-batch-size 2 4 10 --global-batch-size 8",
     "--rampup-batch-size must reach --global-batch-size in whole increments; got 2 + N * 4 and 8; change one of them"},
    {"--save-interval 5", "--save-interval needs --save; it is not given; add --save DIR"},
    {"--log-progress", "--log-progress needs --save; it is not given; add --save DIR"},
    {"--keep-last 2", "--save-retain-interval and --keep-last need --save; it is not given; add --save DIR"},
    {"--save x --save-interval 5 --save-retain-interval 7",
     "--save-retain-interval must be a multiple of --save-interval; got 7 and 5; change one of them"},
    {"--ckpt-step 5", "--ckpt-step needs --load; it is not given; add --load DIR"},
    {"--use-checkpoint-args", "--use-checkpoint-args needs --load; it is not given; add --load DIR"},
    {"--exit-on-missing-checkpoint", "--exit-on-missing-checkpoint needs --load; it is not given; add --load DIR"},
    {"--min-lr 0.1", "--min-lr must be at most --lr; got 0.1 and 0.001; lower the first"},
    {"--lr-warmup-init 0.1", "--lr-warmup-init must be at most --lr; got 0.1 and 0.001; lower the first"},
    {"--lr-warmup-fraction 0.1 --lr-warmup-iters 2",
     "--lr-warmup-fraction excludes --lr-warmup-iters and --lr-warmup-samples; got one of them as well; keep one"},
    {"--lr-decay-samples 100",
     "with --train-iters the schedule is given in steps; got --lr-decay-samples, --lr-warmup-samples or "
     "--lr-wsd-decay-samples; use the names with -iters"},
    {"--train-iters 0 --train-samples 100 --lr-decay-iters 10",
     "with --train-samples the schedule is given in sequences; got --lr-decay-iters, --lr-warmup-iters or "
     "--lr-wsd-decay-iters; use the names with -samples"},
    {"--lr-warmup-iters 10",
     "warm-up must be shorter than the decay; got 10 and 10; shorten --lr-warmup-iters or lengthen --lr-decay-iters"},
    {"--lr-warmup-fraction 1",
     "warm-up must be shorter than the decay; got 10 and 10; shorten --lr-warmup-fraction or lengthen "
     "--lr-decay-iters"},
    {"--lr-decay-style WSD",
     "--lr-decay-style WSD needs --lr-wsd-decay-iters or --lr-wsd-decay-samples; neither is given; add one"},
    {"--start-weight-decay 0 --end-weight-decay 0.1",
     "--weight-decay-incr-style constant has one value; got 0 to 0.1; use --weight-decay, or linear or cosine"},
    {"--weight-decay-incr-style linear --end-weight-decay 0.1",
     "--weight-decay-incr-style linear needs --start-weight-decay and --end-weight-decay; one is missing; add it"},
    {"--weight-decay-incr-style linear --start-weight-decay 0.2 --end-weight-decay 0.1",
     "--end-weight-decay must be at least --start-weight-decay; got 0.1 and 0.2; swap them"},
    {"--override-opt-param-scheduler --use-checkpoint-opt-param-scheduler",
     "--override-opt-param-scheduler and --use-checkpoint-opt-param-scheduler exclude each other; both are given; drop "
     "one"},
};

inline constexpr ContradictionCase kDataCases[] = {
    {"--data-path a", "training reads one source of data; got --mock-data and --data-path; keep one"},
    {"--no-mock-data", "training needs data; no source is given; add --data-path PREFIX or --mock-data"},
    {"--split 1,2,3,4", "--split takes up to three shares, none negative, not all 0; got '1,2,3,4'; write 969,30,1"},
    {"--split a,b", "--split takes up to three shares, none negative, not all 0; got 'a,b'; write 969,30,1"},
    {"--split 0,0", "--split takes up to three shares, none negative, not all 0; got '0,0'; write 969,30,1"},
    {"--no-mock-data --train-data-path a --split 1,1,1",
     "--split divides --data-path; got paths for each split as well; drop --split"},
    {"--tokenizer-type HuggingFaceTokenizer",
     "--tokenizer-type HuggingFaceTokenizer needs --tokenizer-model; it is not given; add its file or folder"},
    {"--tokenizer-type GPT2BPETokenizer --vocab-file v.json",
     "--tokenizer-type GPT2BPETokenizer needs --vocab-file and --merge-file; one is not given; add both"},
    {"--tokenizer-type GPT2BPETokenizer --vocab-file v.json --merge-file m.txt", "none"},
    {"--vocab-size 0", "--tokenizer-type NullTokenizer needs --vocab-size; it is not given; add it"},
};

inline constexpr ContradictionCase kPretendedCases[] = {
    {"--fake-process-group --ranks-as-threads 2 --global-batch-size 8",
     "--fake-process-group is one rank alone; got --ranks-as-threads 2; give --world-size 2 instead"},
    {"--fake-process-group --device cpu",
     "--fake-process-group runs on the device sim; got --device cpu; drop --device"},
    {"--fake-process-group --moe-use-upcycling --save x",
     "--fake-process-group makes no model; got --moe-use-upcycling; drop it, and give the options of the new model"},
    {"--device sim --ranks-as-threads 2",
     "--device sim is one rank alone; got --ranks-as-threads 2; use --fake-process-group --world-size 2"},
    {"--world-size 4",
     "--world-size is for a job that is not there; got 4 without --fake-process-group; add that, or start the ranks: "
     "mpirun -np 4, or --ranks-as-threads 4"},
    {"--rank 1", "--rank is for a job that is not there; got 1 without --fake-process-group; add that or drop it"},
    {"--fake-process-group --world-size 4 --rank 4",
     "--rank must be below --world-size; got 4 and 4; choose from 0 to 3"},
    {"--device sim --moe-routing-imbalance zipf:-1",
     "--moe-routing-imbalance takes balanced, zipf:ALPHA with ALPHA from 0 to 100, or a folder; got 'zipf:-1'; write "
     "for instance zipf:1.0"},
    {"--moe-routing-imbalance zipf:1",
     "--moe-routing-imbalance says how routing falls out where nothing is routed; got --device cpu; drop it, or add "
     "--fake-process-group"},
    {"--device sim --moe-routing-trace-path x",
     "--moe-routing-trace-path needs routers that choose; the device sim has none; drop it or use another device"},
    {"--device sim --moe-routing-replay-path x",
     "--moe-routing-replay-path needs routers that choose; the device sim has none; give --moe-routing-imbalance that "
     "folder"},
    {"--moe-routing-replay-path x --moe-router-load-balancing-type sinkhorn",
     "--moe-routing-replay-path does not go with --moe-router-load-balancing-type sinkhorn; both are given; drop one"},
    {"--moe-routing-trace-max-training-iters 3",
     "--moe-routing-trace-max-training-iters needs --moe-routing-trace-path; it is not given; add it"},
    {"--num-experts 0 --moe-routing-trace-path x",
     "--moe-routing-trace-path needs experts; --num-experts is not given; add --num-experts N"},
};

inline constexpr ContradictionCase kUnavailableCases[] = {
    {"--tensor-model-parallel-size 2 --sequence-parallel",
     "2 problems in the options:\n  1. the number of ranks must be divisible by tensor * context * pipeline size; got "
     "1 "
     "ranks and 2; start another number of ranks\n  2. the number of ranks must be divisible by expert tensor * expert "
     "* "
     "pipeline size; got 1 ranks and 2; start another number of ranks"},
    {"--context-parallel-size 2",
     "the number of ranks must be divisible by tensor * context * pipeline size; got 1 ranks and 2; start another "
     "number "
     "of ranks"},
    {"--expert-model-parallel-size 2",
     "the number of ranks must be divisible by expert tensor * expert * pipeline size; got 1 ranks and 2; start "
     "another "
     "number of ranks"},
    {"--fp8-format e4m3", "--fp8-format is not available yet: FP8 training; got --fp8-format e4m3; leave it out"},
    {"--fp16", "--fp16 is not available yet: f16 training (loss scaling); got --fp16; leave it out"},
    {"--optimizer muon", "--optimizer muon is not available yet: this optimizer; choose from: adam, sgd"},
    {"--recompute-granularity selective --recompute-modules gdn_norm_out core_attn",
     "--recompute-modules gdn_norm_out is not available yet: recomputation of this module; choose from: core_attn, "
     "moe_act, "
     "layernorm, mla_up_proj, mlp, moe, shared_experts"},
    {"--wandb-project x", "--wandb-project is not available yet: further logs; got --wandb-project x; leave it out"},
    {"--profile", "--profile is not available yet: profiling; got --profile; leave it out"},
    {"--moe-router-load-balancing-type quantile_balancing",
     "--moe-router-load-balancing-type quantile_balancing is not available yet: quantile balancing; choose from: "
     "aux_loss, seq_aux_loss, global_aux_loss, sinkhorn, none"},
    {"--no-fp8-wgrad", "--fp8-wgrad is not available yet: FP8 training; got --no-fp8-wgrad; leave it out"},
    {"--position-embedding-type mrope",
     "--position-embedding-type mrope is not available yet: this kind of positions; choose from: learned_absolute, "
     "rope, yarn, none"},
    {"--tokenizer-type TikTokenizer --tokenizer-model x",
     "--tokenizer-type TikTokenizer is not available yet: this tokenizer; choose from: HuggingFaceTokenizer, "
     "SentencePieceTokenizer, GPTSentencePieceTokenizer, Llama2Tokenizer, NullTokenizer, ByteTokenizer, "
     "GPT2BPETokenizer"},
    {"--exit-signal 10", "--exit-signal is not available yet: other signals; got --exit-signal 10; leave it at 15"},
};

}  // namespace conclave

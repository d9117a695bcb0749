#include "proof/layout_cases.h"

#include "base/text.h"

namespace conclave::proof {
namespace {

// A model with a dense and a MoE layer, dropout everywhere, and an odd vocabulary.
const Words kModel = {"--num-layers",
                      "4",
                      "--hidden-size",
                      "32",
                      "--num-attention-heads",
                      "8",
                      "--seq-length",
                      "16",
                      "--normalization",
                      "RMSNorm",
                      "--position-embedding-type",
                      "rope",
                      "--swiglu",
                      "--disable-bias-linear",
                      "--untie-embeddings-and-output-weights",
                      "--ffn-hidden-size",
                      "48",
                      "--attention-dropout",
                      "0.1",
                      "--hidden-dropout",
                      "0.1",
                      "--vocab-size",
                      "96",
                      "--micro-batch-size",
                      "2",
                      "--global-batch-size",
                      "16",
                      "--train-iters",
                      "5",
                      "--lr",
                      "1e-3",
                      "--mock-data",
                      "--eval-iters",
                      "0"};
const Words kExperts = {"--num-experts",    "4",         "--moe-router-topk",    "2",   "--moe-ffn-hidden-size", "24",
                        "--moe-layer-freq", "[0,1,1,1]", "--moe-aux-loss-coeff", "1e-2"};

Words both(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
const Words kTp2 = {"--tensor-model-parallel-size", "2", "--sequence-parallel"};
const Words kTp2Plain = {"--tensor-model-parallel-size", "2"};
const Words kTp4 = {"--tensor-model-parallel-size", "4", "--sequence-parallel"};
const Words kEp2 = {"--expert-model-parallel-size", "2"};
const Words kEp4 = {"--expert-model-parallel-size", "4"};
const Words kEtp1 = {"--expert-tensor-parallel-size", "1"};
const Words kPp2 = {"--pipeline-model-parallel-size", "2"};
const Words kPp4 = {"--pipeline-model-parallel-size", "4"};
const Words kCp2 = {"--context-parallel-size", "2"};
const Words kCp4 = {"--context-parallel-size", "4"};
const Words kZero = {"--use-distributed-optimizer"};
const Words kOverlap = {"--use-distributed-optimizer", "--overlap-grad-reduce", "--overlap-param-gather"};
const Words kAllToAll = {"--moe-token-dispatcher-type", "alltoall"};
const Words kFlex = {"--moe-token-dispatcher-type", "flex"};
const Words kVpp = {"--num-layers-per-virtual-pipeline-stage", "1"};
// In bf16 a rounding can turn a choice of experts over, which is no fault of a layout: here every expert is chosen.
const Words kAllExperts = {"--moe-router-topk", "4"};
const Words kLatent = {"--multi-latent-attention",
                       "--q-lora-rank",
                       "16",
                       "--kv-lora-rank",
                       "16",
                       "--qk-head-dim",
                       "8",
                       "--qk-pos-emb-head-dim",
                       "4",
                       "--v-head-dim",
                       "8"};
// Adam turns the rounding of a gradient that is nearly zero into a whole step; plain descent shows weights as they are.
const Words kSgd = {"--optimizer", "sgd", "--lr", "1"};
const Words kPrediction = {"--mtp-num-layers", "1"};
const Words kForced = {"--moe-router-force-load-balancing"};
const Words kSharedGate = {"--moe-shared-expert-intermediate-size", "16", "--moe-shared-expert-gate"};
const Words kGqa = {"--group-query-attention", "--num-query-groups", "2"};

// What came first, and what was found wrong once.
std::vector<LayoutCase> chosen_cases() {
  return {
      {"dp2", 2, {}},
      {"dp4_zero", 4, kZero},
      {"dp4_overlap", 4, kOverlap},
      {"dp4_instances", 4, both(kZero, {"--num-distributed-optimizer-instances", "2"})},
      {"dp2_small_buckets", 2, both(kOverlap, {"--ddp-bucket-size", "3000"})},
      {"tp2_dense", 2, kTp2Plain, {}, true},
      {"tp2_sp_dense", 2, kTp2, {}, true},
      {"tp2_sp", 2, kTp2},
      {"tp4_sp_gqa", 4, kTp4, kGqa},
      {"tp4_gqa_dense", 4, {"--tensor-model-parallel-size", "4"}, kGqa, true},
      {"tp2_etp1", 2, both(kTp2, kEtp1)},
      {"tp2_etp1_ep2", 2, both(both(kTp2, kEtp1), kEp2)},
      {"tp2_etp2_ep2", 4, both(kTp2, kEp2)},
      {"ep2", 2, kEp2},
      {"ep4", 4, kEp4},
      {"ep4_alltoall", 4, both(kEp4, kAllToAll)},
      {"ep4_flex", 4, both(kEp4, kFlex)},
      {"ep2_alltoall_zero", 4, both(both(kEp2, kAllToAll), kOverlap)},
      {"ep3_of_6",
       3,
       {"--expert-model-parallel-size", "3", "--moe-token-dispatcher-type", "alltoall", "--global-batch-size", "12"},
       {"--num-experts", "6"}},
      {"pp2", 2, kPp2},
      {"pp4", 4, kPp4},
      {"pp2_vpp2", 2, both(kPp2, kVpp)},
      {"pp2_zero_dp2", 4, both(kPp2, kOverlap)},
      {"pp2_uneven", 2, both(kPp2, {"--decoder-first-pipeline-num-layers", "1"})},
      {"pp2_layout", 2, both(kPp2, {"--pipeline-model-parallel-layout", "Ettt|tL"})},
      {"cp2", 2, kCp2},
      {"cp4", 4, kCp4},
      {"cp2_gather", 2, both(kCp2, {"--cp-comm-type", "all_gather"})},
      {"cp2_heads", 2, both(kCp2, {"--cp-comm-type", "a2a"})},
      {"cp4_both", 4, both(kCp4, {"--cp-comm-type", "a2a+p2p", "--hierarchical-context-parallel-sizes", "2", "2"})},
      {"cp4_window", 4, kCp4, {"--window-size", "(5,0)"}},
      {"tp2_cp2", 4, both(kTp2, kCp2)},
      {"tp2_pp2", 4, both(kTp2, kPp2)},
      {"tp2_pp2_ep2", 4, both(both(both(kTp2, kPp2), kEp2), kEtp1)},
      {"cp2_ep2", 2, both(both(kCp2, kEp2), kAllToAll)},
      {"cp2_pp2", 4, both(kCp2, kPp2)},
      {"tp2_cp2_pp2_ep2", 8, both(both(both(kTp2, kCp2), kPp2), both(kEp2, kEtp1))},
      {"ep2_pp2_zero", 4, both(both(kEp2, kPp2), kOverlap)},
      {"tp2_dp2_zero", 4, both(kTp2, kOverlap)},
      {"seq_aux_tp2", 2, kTp2, {"--moe-router-load-balancing-type", "seq_aux_loss"}},
      {"seq_aux_cp2", 2, kCp2, {"--moe-router-load-balancing-type", "seq_aux_loss"}},
      {"z_loss_dp2_tp2", 4, kTp2, {"--moe-z-loss-coeff", "1e-2"}},
      {"expert_bias_ep2_tp2",
       4,
       both(kTp2, kEp2),
       {"--moe-router-score-function", "sigmoid", "--moe-router-enable-expert-bias"}},
      {"shared_expert_tp2_ep2", 4, both(kTp2, kEp2), {"--moe-shared-expert-intermediate-size", "16"}},
      {"per_token_dp2_cp2", 4, kCp2, {"--calculate-per-token-loss"}},
      {"layernorm_bias_tp2", 2, kTp2Plain, {"--normalization", "LayerNorm", "--add-qkv-bias", "--qk-layernorm"}, true},
      {"qk_norm_tp4", 4, kTp4, both(kGqa, {"--qk-layernorm"})},
      {"recompute_tp2_pp2",
       4,
       both(kTp2, kPp2),
       {"--recompute-granularity", "full", "--recompute-method", "uniform", "--recompute-num-layers", "1"}},
      {"recompute_moe_ep2",
       2,
       both(kEp2, kAllToAll),
       {"--recompute-granularity", "selective", "--recompute-modules", "moe_act", "layernorm"}},
      {"jitter_dp2_tp2", 4, kTp2, {"--moe-input-jitter-eps", "0.1"}},
      {"bf16_dp2", 2, kZero, kAllExperts, false, true},
      {"bf16_tp2_ep2", 4, both(kTp2, kEp2), kAllExperts, false, true},
      {"bf16_cp2_pp2", 4, both(kCp2, kPp2), kAllExperts, false, true},
      {"latent_tp2", 2, kTp2, both(kLatent, kSgd)},
      {"latent_cp2", 2, kCp2, kLatent},
      {"latent_pp2_ep2", 4, both(kPp2, kEp2), kLatent},
      {"prediction_tp2", 2, kTp2, kPrediction},
      {"prediction_cp2", 2, kCp2, kPrediction},
      {"prediction_pp2", 2, both(kPp2, {"--pipeline-model-parallel-layout", "Ett|ttmL"}), kPrediction},
      {"prediction_dp2_overlap", 2, kOverlap, kPrediction},
      {"jitter_cp2_tp2", 4, both(kCp2, kTp2), {"--moe-input-jitter-eps", "0.1"}},
      {"forced_cp2", 2, kCp2, kForced},
      {"forced_tp2_ep2", 4, both(kTp2, kEp2), kForced},
      {"softmax_offset_tp2", 2, kTp2, {"--softmax-type", "learnable"}},
      {"shared_gate_overlap_ep2", 2, both(both(kEp2, kAllToAll), {"--moe-shared-expert-overlap"}), kSharedGate},
      {"shared_gate_tp2_ep2", 4, both(kTp2, kEp2), kSharedGate},
      {"hybridep_ep4", 4,
       both(both(kEp4, kFlex), {"--moe-flex-dispatcher-backend", "hybridep", "--ranks-per-node", "2"})},
      {"pad_ep2",
       2,
       both(kEp2, kAllToAll),
       {"--moe-expert-capacity-factor", "1", "--moe-pad-expert-input-to-capacity"}},
      {"drop_ep2", 2, both(kEp2, kAllToAll), {"--moe-expert-capacity-factor", "0.5"}},
      {"mapping_tp2_pp2", 8, both(both(kTp2, kPp2), {"--use-tp-pp-dp-mapping"})},
  };
}

// Pairs of features that meet in one way only.
std::vector<LayoutCase> special_cases() {
  const Words mapping = split_words("--pipeline-model-parallel-size 2 --use-tp-pp-dp-mapping");
  return {
      {"cp2_kinds_by_layer", 2, split_words("--context-parallel-size 2 --cp-comm-type p2p all_gather a2a p2p")},
      {"cp4_kinds_by_layer", 4,
       split_words("--context-parallel-size 4 --cp-comm-type a2a+p2p p2p all_gather a2a "
                   "--hierarchical-context-parallel-sizes 2 2")},
      {"three_balances_tp2_cp2_ep4", 4,
       split_words(
           "--tensor-model-parallel-size 2 --sequence-parallel --context-parallel-size 2 "
           "--expert-model-parallel-size 4 --expert-tensor-parallel-size 1 --moe-token-dispatcher-type alltoall"),
       split_words("--moe-router-load-balancing-type aux_loss seq_aux_loss global_aux_loss "
                   "--moe-aux-loss-coeff 1e-2 2e-2 3e-2")},
      {"pp2_string_of_four", 2, both(kPp2, {"--pipeline-model-parallel-layout", "Et|t|t|tL"})},
      {"pp2_vpp2_uneven",
       2,
       both(kPp2, {"--decoder-first-pipeline-num-layers", "2", "--num-virtual-stages-per-pipeline-rank", "2"}),
       {"--num-layers", "6", "--moe-layer-freq", "[0,1,1,1,0,1]"}},
      {"pp3_vpp2_in_turns",
       3,
       split_words("--pipeline-model-parallel-size 3 --num-virtual-stages-per-pipeline-rank 2 "
                   "--no-overlap-p2p-communication --global-batch-size 12"),
       {"--num-layers", "6", "--moe-layer-freq", "[0,1,1,1,0,1]"}},
      {"etp2_shared_overlap",
       2,
       both(kTp2, {"--moe-shared-expert-overlap"}),
       {"--moe-shared-expert-intermediate-size", "16"}},
      {"mapping_tp2_pp2_ep2", 8, both(both(mapping, kTp2), both(both(kEp2, kEtp1), kAllToAll))},
      {"mapping_ring_pp2_ep2", 8, both(both(mapping, kCp2), both(both(kEp2, kEtp1), kAllToAll))},
      {"mapping_gather_pp2_deepep", 8,
       both(both(mapping, kCp2), both(both(kEp2, kFlex), {"--cp-comm-type", "all_gather", "--ranks-per-node", "2"}))},
      {"mapping_heads_pp2_hybridep", 8,
       both(both(mapping, kCp2), both(both(kEp2, kFlex), {"--cp-comm-type", "a2a", "--moe-flex-dispatcher-backend",
                                                          "hybridep", "--ranks-per-node", "2"}))},
      {"mapping_cp4_pp2_ep4", 8,
       both(both(mapping, kCp4), both(both(kEp4, kAllToAll), {"--cp-comm-type", "a2a+p2p",
                                                              "--hierarchical-context-parallel-sizes", "2", "2"}))},
  };
}

// Chosen so that the whole table has every pair of features that can meet; many at once, so that they are few.
std::vector<LayoutCase> covering_cases() {
  return {
      {"cover_1", 4,
       split_words("--bf16 --grad-reduce-in-bf16 --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall"),
       split_words("--tensor-model-parallel-size 4 --sequence-parallel --group-query-attention --num-query-groups 2 "
                   "--add-bias-linear --expert-tensor-parallel-size 1 --dataloader-inter-document-masking "
                   "--position-embedding-type learned_absolute --mtp-num-layers 1 --recompute-granularity full "
                   "--recompute-method uniform --recompute-num-layers 1 --qk-layernorm --softmax-type learnable "
                   "--moe-input-jitter-eps 0.1 --moe-expert-capacity-factor 1 --moe-pad-expert-input-to-capacity "
                   "--moe-token-dispatcher-type alltoall --moe-router-topk 4 --moe-token-drop-policy position")},
      {"cover_2", 4,
       split_words("--no-overlap-p2p-communication --pipeline-model-parallel-size 2 "
                   "--decoder-first-pipeline-num-layers 1 --expert-model-parallel-size 2 --use-distributed-optimizer "
                   "--overlap-grad-reduce --overlap-param-gather --ddp-bucket-size 3000"),
       split_words("--multi-latent-attention --q-lora-rank 16 --kv-lora-rank 16 --qk-head-dim 8 --qk-pos-emb-head-dim "
                   "4 --v-head-dim 8 --moe-shared-expert-intermediate-size 16 --window-size (5,0) "
                   "--no-untie-embeddings-and-output-weights --recompute-granularity selective --recompute-modules "
                   "core_attn layernorm --qk-layernorm --position-embedding-type learned_absolute --mtp-num-layers 1 "
                   "--calculate-per-token-loss --moe-z-loss-coeff 1e-2 --optimizer sgd --lr 1")},
      {"cover_3", 4,
       split_words("--context-parallel-size 4 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2 --bf16 "
                   "--grad-reduce-in-bf16 --expert-model-parallel-size 2 --use-distributed-optimizer "
                   "--overlap-grad-reduce --overlap-param-gather --ddp-bucket-size 3000"),
       split_words(
           "--moe-expert-capacity-factor 1 --moe-pad-expert-input-to-capacity --dataloader-inter-document-masking "
           "--moe-router-load-balancing-type global_aux_loss --moe-shared-expert-intermediate-size 16 "
           "--moe-shared-expert-overlap --moe-token-dispatcher-type alltoall --recompute-granularity full "
           "--recompute-method uniform --recompute-num-layers 1 --moe-router-score-function sigmoid "
           "--moe-router-enable-expert-bias --moe-router-topk 4 --moe-token-drop-policy position")},
      {"cover_4", 4,
       split_words("--use-distributed-optimizer --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall "
                   "--overlap-grad-reduce --pipeline-model-parallel-size 2 --decoder-first-pipeline-num-layers 1 "
                   "--bf16 --grad-reduce-in-bf16"),
       split_words("--group-query-attention --num-query-groups 4 --dataloader-inter-document-masking --softmax-type "
                   "learnable --moe-z-loss-coeff 1e-2 --no-untie-embeddings-and-output-weights --moe-input-jitter-eps "
                   "0.1 --calculate-per-token-loss --moe-router-load-balancing-type seq_aux_loss "
                   "--moe-router-score-function sigmoid --moe-router-enable-expert-bias --add-bias-linear "
                   "--expert-tensor-parallel-size 1 --moe-router-topk 4")},
      {"cover_5", 8,
       split_words("--bf16 --grad-reduce-in-bf16 --tensor-model-parallel-size 2 --sequence-parallel "
                   "--expert-tensor-parallel-size 1 --cp-comm-type all_gather --pipeline-model-parallel-size 2 "
                   "--no-overlap-p2p-communication --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall "
                   "--context-parallel-size 2 --use-distributed-optimizer --num-distributed-optimizer-instances 2"),
       split_words("--recompute-granularity selective --recompute-modules core_attn layernorm "
                   "--moe-shared-expert-intermediate-size 16 --moe-shared-expert-overlap --moe-token-dispatcher-type "
                   "alltoall --calculate-per-token-loss --qk-layernorm --moe-router-score-function sigmoid "
                   "--moe-router-enable-expert-bias --moe-expert-capacity-factor 0.5 --moe-router-load-balancing-type "
                   "global_aux_loss --window-size (5,0) --moe-router-topk 4 --moe-token-drop-policy position")},
      {"cover_6", 4,
       split_words("--expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall --use-tp-pp-dp-mapping "
                   "--no-overlap-p2p-communication --pipeline-model-parallel-size 2 --pipeline-model-parallel-layout "
                   "Ettt|tL --bf16 --grad-reduce-in-bf16 --context-parallel-size 2 --cp-comm-type a2a "
                   "--overlap-grad-reduce --ddp-bucket-size 3000"),
       split_words("--window-size (5,0) --recompute-granularity full --recompute-method uniform --recompute-num-layers "
                   "1 --moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff 0 --group-query-attention "
                   "--num-query-groups 4 --qk-layernorm --calculate-per-token-loss --moe-router-topk 4")},
      {"cover_7", 4,
       split_words("--pipeline-model-parallel-layout Ettt|tL --context-parallel-size 2 --overlap-grad-reduce "
                   "--overlap-param-gather --pipeline-model-parallel-size 2 --no-overlap-p2p-communication "
                   "--use-distributed-optimizer --num-distributed-optimizer-instances 2 --bf16 --grad-reduce-in-bf16"),
       split_words("--position-embedding-type learned_absolute --bf16 --moe-shared-expert-intermediate-size 16 "
                   "--dataloader-inter-document-masking --no-untie-embeddings-and-output-weights "
                   "--recompute-granularity selective --recompute-modules core_attn layernorm --multi-latent-attention "
                   "--q-lora-rank 16 --kv-lora-rank 16 --qk-head-dim 8 --qk-pos-emb-head-dim 4 --v-head-dim 8 "
                   "--moe-expert-capacity-factor 1 --moe-pad-expert-input-to-capacity --moe-token-dispatcher-type "
                   "alltoall --moe-router-topk 4 --moe-token-drop-policy position --optimizer sgd --lr 1")},
      {"cover_8", 4,
       split_words("--num-virtual-stages-per-pipeline-rank 2 --bf16 --grad-reduce-in-bf16 --overlap-grad-reduce "
                   "--overlap-param-gather --pipeline-model-parallel-size 2 --use-tp-pp-dp-mapping "
                   "--use-distributed-optimizer --num-distributed-optimizer-instances 2"),
       split_words("--group-query-attention --num-query-groups 4 --moe-expert-capacity-factor 0.5 "
                   "--moe-input-jitter-eps 0.1 --dataloader-inter-document-masking "
                   "--moe-shared-expert-intermediate-size 16 --moe-shared-expert-overlap --moe-token-dispatcher-type "
                   "alltoall --softmax-type learnable --moe-router-topk 4 --moe-token-drop-policy position")},
      {"cover_9", 4,
       split_words("--expert-model-parallel-size 4 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend "
                   "deepep --ranks-per-node 2 --context-parallel-size 2 --cp-comm-type a2a "
                   "--tensor-model-parallel-size 2 --sequence-parallel --expert-tensor-parallel-size 1 "
                   "--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather --ddp-bucket-size 3000"),
       split_words(
           "--moe-shared-expert-intermediate-size 16 --moe-shared-expert-overlap --moe-token-dispatcher-type alltoall "
           "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1 --moe-z-loss-coeff 1e-2 "
           "--no-untie-embeddings-and-output-weights --group-query-attention --num-query-groups 4 "
           "--moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff 0 --moe-input-jitter-eps 0.1")},
      {"cover_10", 4,
       split_words("--pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2 --context-parallel-size "
                   "2 --cp-comm-type a2a"),
       split_words(
           "--dataloader-inter-document-masking --moe-router-score-function sigmoid --moe-router-enable-expert-bias "
           "--moe-input-jitter-eps 0.1 --no-untie-embeddings-and-output-weights --moe-expert-capacity-factor 1 "
           "--moe-pad-expert-input-to-capacity --moe-router-load-balancing-type global_aux_loss "
           "--multi-latent-attention --q-lora-rank 16 --kv-lora-rank 16 --qk-head-dim 8 --qk-pos-emb-head-dim 4 "
           "--v-head-dim 8 --mtp-num-layers 1 --recompute-granularity selective --recompute-modules core_attn "
           "layernorm --position-embedding-type learned_absolute --moe-shared-expert-intermediate-size 16 "
           "--moe-shared-expert-overlap --moe-token-dispatcher-type alltoall --optimizer sgd --lr 1")},
      {"cover_11", 4,
       split_words("--tensor-model-parallel-size 2 --ddp-bucket-size 3000 --bf16 --grad-reduce-in-bf16 "
                   "--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather"),
       split_words(
           "--moe-router-load-balancing-type global_aux_loss --add-bias-linear --expert-tensor-parallel-size 1 "
           "--softmax-type learnable --no-untie-embeddings-and-output-weights --multi-latent-attention --q-lora-rank "
           "16 --kv-lora-rank 16 --qk-head-dim 8 --qk-pos-emb-head-dim 4 --v-head-dim 8 --recompute-granularity full "
           "--recompute-method uniform --recompute-num-layers 1 --optimizer sgd --lr 1"),
       true},
      {"cover_12", 4,
       split_words("--overlap-grad-reduce --expert-model-parallel-size 4 --moe-token-dispatcher-type flex "
                   "--moe-flex-dispatcher-backend hybridep --ranks-per-node 2"),
       split_words("--tensor-model-parallel-size 4 --sequence-parallel --group-query-attention --num-query-groups 2 "
                   "--calculate-per-token-loss --window-size (5,0) --add-bias-linear --expert-tensor-parallel-size 1 "
                   "--recompute-granularity selective --recompute-modules core_attn layernorm "
                   "--moe-router-score-function sigmoid --moe-router-enable-expert-bias --qk-layernorm --softmax-type "
                   "learnable --moe-router-load-balancing-type seq_aux_loss")},
      {"cover_13", 4,
       split_words(
           "--overlap-grad-reduce --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend hybridep "
           "--ranks-per-node 2 --context-parallel-size 2 --cp-comm-type all_gather --expert-model-parallel-size 2"),
       split_words("--moe-router-load-balancing-type seq_aux_loss --multi-latent-attention --q-lora-rank 16 "
                   "--kv-lora-rank 16 --qk-head-dim 8 --qk-pos-emb-head-dim 4 --v-head-dim 8 --recompute-granularity "
                   "selective --recompute-modules core_attn layernorm --moe-shared-expert-intermediate-size 16 "
                   "--moe-z-loss-coeff 1e-2 --qk-layernorm --no-untie-embeddings-and-output-weights "
                   "--moe-expert-capacity-factor 1 --moe-pad-expert-input-to-capacity --moe-token-dispatcher-type "
                   "alltoall --position-embedding-type learned_absolute --mtp-num-layers 1 --optimizer sgd --lr 1")},
      {"cover_14", 8,
       split_words("--context-parallel-size 4 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2 "
                   "--num-virtual-stages-per-pipeline-rank 2 --expert-model-parallel-size 4 "
                   "--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend hybridep --ranks-per-node 2 "
                   "--pipeline-model-parallel-size 2 --use-tp-pp-dp-mapping --use-distributed-optimizer "
                   "--overlap-grad-reduce --overlap-param-gather --ddp-bucket-size 3000"),
       split_words(
           "--window-size (5,0) --recompute-granularity selective --recompute-modules core_attn layernorm "
           "--moe-expert-capacity-factor 1 --moe-pad-expert-input-to-capacity --moe-token-dispatcher-type alltoall "
           "--calculate-per-token-loss --group-query-attention --num-query-groups 4 --position-embedding-type "
           "learned_absolute --mtp-num-layers 1 --moe-router-load-balancing-type seq_aux_loss")},
      {"cover_15", 8,
       split_words("--tensor-model-parallel-size 2 --overlap-grad-reduce --context-parallel-size 2 --cp-comm-type "
                   "all_gather --pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2 "
                   "--ddp-bucket-size 3000 --use-distributed-optimizer --num-distributed-optimizer-instances 2"),
       split_words("--recompute-granularity selective --recompute-modules core_attn layernorm --mtp-num-layers 1 "
                   "--dataloader-inter-document-masking --window-size (5,0)"),
       true},
      {"cover_16", 8,
       split_words("--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend deepep --ranks-per-node 2 "
                   "--use-distributed-optimizer --num-distributed-optimizer-instances 2 --expert-model-parallel-size 2 "
                   "--context-parallel-size 2 --pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank "
                   "2 --tensor-model-parallel-size 2 --sequence-parallel --expert-tensor-parallel-size 1"),
       split_words(
           "--moe-z-loss-coeff 1e-2 --recompute-granularity selective --recompute-modules core_attn layernorm "
           "--position-embedding-type learned_absolute --moe-router-score-function sigmoid "
           "--moe-router-enable-expert-bias --moe-shared-expert-intermediate-size 16 --moe-shared-expert-overlap "
           "--moe-token-dispatcher-type alltoall --moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff 0")},
      {"cover_17", 4,
       split_words("--tensor-model-parallel-size 2 --use-tp-pp-dp-mapping --no-overlap-p2p-communication "
                   "--pipeline-model-parallel-size 2 --decoder-first-pipeline-num-layers 1"),
       split_words("--position-embedding-type learned_absolute --no-untie-embeddings-and-output-weights "
                   "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1 --mtp-num-layers "
                   "1 --moe-router-load-balancing-type global_aux_loss --calculate-per-token-loss"),
       true},
      {"cover_18", 8,
       split_words("--pipeline-model-parallel-layout Ettt|tL --tensor-model-parallel-size 2 --sequence-parallel "
                   "--expert-tensor-parallel-size 1 --overlap-grad-reduce --expert-model-parallel-size 4 "
                   "--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend deepep --ranks-per-node 2 "
                   "--pipeline-model-parallel-size 2 --no-overlap-p2p-communication --bf16 --grad-reduce-in-bf16"),
       split_words("--moe-shared-expert-intermediate-size 16 --moe-expert-capacity-factor 0.5 --moe-input-jitter-eps "
                   "0.1 --moe-router-score-function sigmoid --moe-router-enable-expert-bias "
                   "--moe-router-load-balancing-type seq_aux_loss --softmax-type learnable --moe-z-loss-coeff 1e-2 "
                   "--moe-router-topk 4 --moe-token-drop-policy position")},
      {"cover_19", 4,
       split_words("--context-parallel-size 4 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2 "
                   "--expert-model-parallel-size 2 --moe-token-dispatcher-type allgather --use-distributed-optimizer "
                   "--num-distributed-optimizer-instances 2"),
       split_words("--recompute-granularity full --recompute-method uniform --recompute-num-layers 1 "
                   "--moe-router-load-balancing-type global_aux_loss --calculate-per-token-loss --window-size (5,0) "
                   "--moe-expert-capacity-factor 0.5 --multi-latent-attention --q-lora-rank 16 --kv-lora-rank 16 "
                   "--qk-head-dim 8 --qk-pos-emb-head-dim 4 --v-head-dim 8 --add-bias-linear "
                   "--expert-tensor-parallel-size 1 --moe-input-jitter-eps 0.1 --optimizer sgd --lr 1")},
      {"cover_20", 4,
       split_words("--cp-comm-type all_gather --no-overlap-p2p-communication --expert-model-parallel-size 2 "
                   "--ddp-bucket-size 3000 --pipeline-model-parallel-layout Ettt|tL --pipeline-model-parallel-size 2 "
                   "--use-distributed-optimizer --context-parallel-size 2"),
       split_words("--dataloader-inter-document-masking --moe-z-loss-coeff 1e-2 --add-bias-linear "
                   "--expert-tensor-parallel-size 1 --recompute-granularity full --recompute-method uniform "
                   "--recompute-num-layers 1 --moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff 0")},
      {"cover_21", 8,
       split_words("--decoder-first-pipeline-num-layers 1 --ddp-bucket-size 3000 --pipeline-model-parallel-size 2 "
                   "--no-overlap-p2p-communication"),
       split_words("--tensor-model-parallel-size 4 --sequence-parallel --group-query-attention --num-query-groups 2 "
                   "--calculate-per-token-loss --moe-router-load-balancing-type global_aux_loss "
                   "--no-untie-embeddings-and-output-weights --moe-shared-expert-intermediate-size 16 "
                   "--moe-shared-expert-overlap --bf16 --moe-pad-expert-input-to-capacity --moe-token-dispatcher-type "
                   "alltoall --softmax-type learnable --moe-expert-capacity-factor 0.5 --moe-router-topk 4 "
                   "--moe-token-drop-policy position")},
      {"cover_22", 8,
       split_words("--context-parallel-size 2 --use-distributed-optimizer --ddp-bucket-size 3000 "
                   "--no-overlap-p2p-communication --pipeline-model-parallel-size 2 "
                   "--decoder-first-pipeline-num-layers 1 --expert-model-parallel-size 4 --moe-token-dispatcher-type "
                   "flex --moe-flex-dispatcher-backend hybridep --ranks-per-node 2"),
       split_words("--group-query-attention --num-query-groups 4 --recompute-granularity full --recompute-method "
                   "uniform --recompute-num-layers 1 --moe-expert-capacity-factor 0.5 --moe-input-jitter-eps 0.1 "
                   "--moe-router-load-balancing-type seq_aux_loss --moe-shared-expert-intermediate-size 16 "
                   "--moe-shared-expert-overlap --moe-token-dispatcher-type alltoall")},
      {"cover_23", 8,
       split_words("--context-parallel-size 4 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2 "
                   "--expert-model-parallel-size 4 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend "
                   "deepep --ranks-per-node 2 --no-overlap-p2p-communication --pipeline-model-parallel-size 2 "
                   "--decoder-first-pipeline-num-layers 1"),
       split_words("--qk-layernorm --multi-latent-attention --q-lora-rank 16 --kv-lora-rank 16 --qk-head-dim 8 "
                   "--qk-pos-emb-head-dim 4 --v-head-dim 8 --moe-router-load-balancing-type sinkhorn "
                   "--moe-aux-loss-coeff 0 --moe-z-loss-coeff 1e-2 --moe-shared-expert-intermediate-size 16 "
                   "--moe-shared-expert-overlap --moe-token-dispatcher-type alltoall --optimizer sgd --lr 1")},
      {"cover_24", 8,
       split_words("--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather --ddp-bucket-size 3000 "
                   "--expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall --bf16 --grad-reduce-in-bf16"),
       split_words("--moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff 0 --mtp-num-layers 1 "
                   "--tensor-model-parallel-size 4 --sequence-parallel --group-query-attention --num-query-groups 2 "
                   "--softmax-type learnable --calculate-per-token-loss --moe-router-topk 4")},
      {"cover_25", 8,
       split_words("--expert-model-parallel-size 2 --moe-token-dispatcher-type allgather --context-parallel-size 2 "
                   "--cp-comm-type a2a --decoder-first-pipeline-num-layers 1 --use-distributed-optimizer "
                   "--num-distributed-optimizer-instances 2 --tensor-model-parallel-size 2 --sequence-parallel "
                   "--expert-tensor-parallel-size 1 --pipeline-model-parallel-size 2 --ddp-bucket-size 3000"),
       split_words("--moe-expert-capacity-factor 0.5 --moe-router-load-balancing-type seq_aux_loss")},
      {"cover_26", 8,
       split_words("--use-tp-pp-dp-mapping --pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Ettt|tL "
                   "--bf16 --grad-reduce-in-bf16 --overlap-grad-reduce"),
       split_words("--moe-input-jitter-eps 0.1 --softmax-type learnable --moe-z-loss-coeff 1e-2 "
                   "--moe-router-load-balancing-type global_aux_loss --window-size (5,0) "
                   "--no-untie-embeddings-and-output-weights --tensor-model-parallel-size 4 --sequence-parallel "
                   "--group-query-attention --num-query-groups 2 --recompute-granularity selective --recompute-modules "
                   "core_attn layernorm --moe-router-topk 4")},
      {"cover_27", 4,
       split_words(
           "--context-parallel-size 2 --cp-comm-type all_gather --bf16 --grad-reduce-in-bf16 "
           "--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather --expert-model-parallel-size 4 "
           "--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend hybridep --ranks-per-node 2"),
       split_words(
           "--moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff 0 --moe-input-jitter-eps 0.1 --qk-layernorm "
           "--moe-router-score-function sigmoid --moe-router-enable-expert-bias --group-query-attention "
           "--num-query-groups 4 --dataloader-inter-document-masking --moe-router-topk 4")},
      {"cover_28", 4,
       split_words("--moe-flex-dispatcher-backend deepep --ranks-per-node 2 --num-virtual-stages-per-pipeline-rank 2 "
                   "--context-parallel-size 2 --expert-model-parallel-size 2 --moe-token-dispatcher-type allgather "
                   "--pipeline-model-parallel-size 2 --use-tp-pp-dp-mapping"),
       split_words("--window-size (5,0) --moe-expert-capacity-factor 0.5 --qk-layernorm "
                   "--no-untie-embeddings-and-output-weights --add-bias-linear --expert-tensor-parallel-size 1 "
                   "--dataloader-inter-document-masking --moe-z-loss-coeff 1e-2 --calculate-per-token-loss --bf16 "
                   "--moe-router-topk 4 --moe-token-drop-policy position")},
      {"cover_29", 4,
       split_words("--context-parallel-size 2 --cp-comm-type a2a --overlap-grad-reduce --overlap-param-gather "
                   "--expert-model-parallel-size 4 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend "
                   "deepep --ranks-per-node 2 --use-distributed-optimizer"),
       split_words(
           "--window-size (5,0) --dataloader-inter-document-masking --add-bias-linear --expert-tensor-parallel-size 1 "
           "--mtp-num-layers 1 --recompute-granularity selective --recompute-modules core_attn layernorm")},
      {"cover_30", 4,
       split_words(
           "--use-tp-pp-dp-mapping --tensor-model-parallel-size 2 --sequence-parallel "
           "--num-virtual-stages-per-pipeline-rank 2 --use-distributed-optimizer --pipeline-model-parallel-size 2"),
       split_words("--multi-latent-attention --q-lora-rank 16 --kv-lora-rank 16 --qk-head-dim 8 --qk-pos-emb-head-dim "
                   "4 --v-head-dim 8 --recompute-granularity full --recompute-method uniform --recompute-num-layers 1 "
                   "--moe-expert-capacity-factor 1 --moe-pad-expert-input-to-capacity --moe-token-dispatcher-type "
                   "alltoall --moe-shared-expert-intermediate-size 16 --qk-layernorm --moe-input-jitter-eps 0.1 "
                   "--optimizer sgd --lr 1")},
      {"cover_31", 8,
       split_words("--tensor-model-parallel-size 2 --context-parallel-size 2 --cp-comm-type a2a "
                   "--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Ettt|tL "
                   "--use-distributed-optimizer --num-distributed-optimizer-instances 2"),
       split_words("--no-untie-embeddings-and-output-weights --recompute-granularity selective --recompute-modules "
                   "core_attn layernorm"),
       true},
      {"cover_32", 8,
       split_words("--context-parallel-size 4 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2 "
                   "--tensor-model-parallel-size 2 --sequence-parallel --expert-tensor-parallel-size 1 "
                   "--overlap-grad-reduce --overlap-param-gather --use-distributed-optimizer"),
       split_words("--no-untie-embeddings-and-output-weights --window-size (5,0) --recompute-granularity selective "
                   "--recompute-modules core_attn layernorm --moe-z-loss-coeff 1e-2 --multi-latent-attention "
                   "--q-lora-rank 16 --kv-lora-rank 16 --qk-head-dim 8 --qk-pos-emb-head-dim 4 --v-head-dim 8 "
                   "--moe-shared-expert-intermediate-size 16 --moe-shared-expert-overlap --moe-token-dispatcher-type "
                   "alltoall --moe-input-jitter-eps 0.1 --moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff "
                   "0 --optimizer sgd --lr 1")},
      {"cover_33", 8,
       split_words(
           "--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Ettt|tL --expert-model-parallel-size 4 "
           "--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend deepep --ranks-per-node 2 "
           "--context-parallel-size 4 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2"),
       split_words("--moe-z-loss-coeff 1e-2 --moe-shared-expert-intermediate-size 16 --moe-shared-expert-overlap "
                   "--moe-token-dispatcher-type alltoall --moe-router-load-balancing-type global_aux_loss")},
      {"cover_34", 8,
       split_words("--context-parallel-size 2 --cp-comm-type a2a --expert-model-parallel-size 4 "
                   "--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend hybridep --ranks-per-node 2 "
                   "--use-distributed-optimizer --num-distributed-optimizer-instances 2"),
       split_words("--tensor-model-parallel-size 4 --sequence-parallel --group-query-attention --num-query-groups 2 "
                   "--no-untie-embeddings-and-output-weights --add-bias-linear --expert-tensor-parallel-size 1 --bf16 "
                   "--dataloader-inter-document-masking --moe-expert-capacity-factor 1 "
                   "--moe-pad-expert-input-to-capacity --moe-token-dispatcher-type alltoall --mtp-num-layers 1 "
                   "--calculate-per-token-loss --moe-router-topk 4 --moe-token-drop-policy position")},
      {"cover_35", 8,
       split_words("--use-distributed-optimizer --overlap-param-gather --cp-comm-type all_gather --bf16 "
                   "--grad-reduce-in-bf16 --overlap-grad-reduce --context-parallel-size 2 --expert-model-parallel-size "
                   "4 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend deepep --ranks-per-node 2"),
       split_words("--tensor-model-parallel-size 4 --sequence-parallel --group-query-attention --num-query-groups 2 "
                   "--moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff 0 --qk-layernorm "
                   "--calculate-per-token-loss --position-embedding-type learned_absolute --bf16 --add-bias-linear "
                   "--expert-tensor-parallel-size 1 --moe-z-loss-coeff 1e-2 --moe-router-topk 4")},
      {"cover_36", 4,
       split_words("--tensor-model-parallel-size 2 --use-distributed-optimizer --num-distributed-optimizer-instances 2 "
                   "--context-parallel-size 2"),
       split_words("--moe-z-loss-coeff 1e-2 --recompute-granularity full --recompute-method uniform "
                   "--recompute-num-layers 1 --qk-layernorm --calculate-per-token-loss --group-query-attention "
                   "--num-query-groups 4 --mtp-num-layers 1 --no-untie-embeddings-and-output-weights "
                   "--moe-input-jitter-eps 0.1 --moe-router-load-balancing-type global_aux_loss"),
       true},
      {"cover_37", 4,
       split_words("--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather "
                   "--decoder-first-pipeline-num-layers 1 --cp-comm-type all_gather --use-tp-pp-dp-mapping "
                   "--pipeline-model-parallel-size 2 --no-overlap-p2p-communication --expert-model-parallel-size 2 "
                   "--moe-token-dispatcher-type allgather --context-parallel-size 2"),
       split_words("--moe-expert-capacity-factor 1 --moe-pad-expert-input-to-capacity --moe-token-dispatcher-type "
                   "alltoall --multi-latent-attention --q-lora-rank 16 --kv-lora-rank 16 --qk-head-dim 8 "
                   "--qk-pos-emb-head-dim 4 --v-head-dim 8 --moe-router-score-function sigmoid "
                   "--moe-router-enable-expert-bias --calculate-per-token-loss --recompute-granularity selective "
                   "--recompute-modules core_attn layernorm --optimizer sgd --lr 1")},
      {"cover_38", 8,
       split_words(
           "--context-parallel-size 4 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2 "
           "--tensor-model-parallel-size 2 --use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather"),
       split_words(
           "--mtp-num-layers 1 --recompute-granularity full --recompute-method uniform --recompute-num-layers 1"),
       true},
      {"cover_39", 8,
       split_words(
           "--tensor-model-parallel-size 2 --sequence-parallel --expert-tensor-parallel-size 1 --context-parallel-size "
           "2 --cp-comm-type all_gather --overlap-grad-reduce --pipeline-model-parallel-size 2 "
           "--pipeline-model-parallel-layout Ettt|tL --expert-model-parallel-size 4 --moe-token-dispatcher-type flex "
           "--moe-flex-dispatcher-backend hybridep --ranks-per-node 2"),
       split_words("--moe-router-load-balancing-type global_aux_loss --dataloader-inter-document-masking "
                   "--moe-expert-capacity-factor 1 --moe-pad-expert-input-to-capacity --moe-token-dispatcher-type "
                   "alltoall --multi-latent-attention --q-lora-rank 16 --kv-lora-rank 16 --qk-head-dim 8 "
                   "--qk-pos-emb-head-dim 4 --v-head-dim 8 --optimizer sgd --lr 1")},
      {"cover_40", 8, split_words("--pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2"),
       split_words("--tensor-model-parallel-size 4 --sequence-parallel --group-query-attention --num-query-groups 2 "
                   "--window-size (5,0)")},
      {"cover_41", 8, split_words("--context-parallel-size 2"),
       split_words(
           "--tensor-model-parallel-size 4 --sequence-parallel --group-query-attention --num-query-groups 2 "
           "--moe-shared-expert-overlap --moe-expert-capacity-factor 1 --moe-pad-expert-input-to-capacity "
           "--moe-token-dispatcher-type alltoall --moe-shared-expert-intermediate-size 16 --moe-input-jitter-eps 0.1")},
      {"cover_42", 8,
       split_words("--context-parallel-size 4 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2 "
                   "--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather"),
       split_words("--no-untie-embeddings-and-output-weights --recompute-granularity full --recompute-method uniform "
                   "--recompute-num-layers 1 --moe-router-load-balancing-type seq_aux_loss")},
  };
}

}  // namespace

const std::vector<LayoutCase>& layout_cases() {
  static const std::vector<LayoutCase> all = [] {
    std::vector<LayoutCase> cases = chosen_cases();
    for (const auto& more : {special_cases(), covering_cases()}) cases.insert(cases.end(), more.begin(), more.end());
    return cases;
  }();
  return all;
}

Words words_of(const LayoutCase& layout) {
  Words words = kModel;
  if (!layout.dense) words.insert(words.end(), kExperts.begin(), kExperts.end());
  words.insert(words.end(), layout.model.begin(), layout.model.end());
  words.insert(words.end(), layout.words.begin(), layout.words.end());
  if (layout.bf16) words.push_back("--bf16");
  return words;
}

ParsedOptions parsed_case(const LayoutCase& layout) {
  ParsedOptions parsed = parse_command_line(Command::kTrain, words_of(layout));
  parsed.options.parallel.world_size = layout.ranks;
  return parsed;
}

}  // namespace conclave::proof

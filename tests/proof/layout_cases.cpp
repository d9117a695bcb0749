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
const Words kLearnedOffset = {"--softmax-type", "learnable"};
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
      {"softmax_offset_tp2", 2, kTp2, kLearnedOffset},
      {"softmax_offset_cp2", 2, kCp2, kLearnedOffset},
      {"softmax_offset_cp4_window", 4, kCp4, both(kLearnedOffset, {"--window-size", "(5,0)"})},
      {"softmax_offset_cp2_gather", 2, both(kCp2, {"--cp-comm-type", "all_gather"}), kLearnedOffset},
      {"softmax_offset_tp2_cp2_heads", 4, both(both(kTp2, kCp2), {"--cp-comm-type", "a2a"}), kLearnedOffset},
      {"softmax_offset_cp4_both", 4,
       both(kCp4, {"--cp-comm-type", "a2a+p2p", "--hierarchical-context-parallel-sizes", "2", "2"}), kLearnedOffset},
      {"softmax_off_by_one_cp2", 2, kCp2, {"--softmax-type", "off-by-one"}},
      {"softmax_off_by_one_cp2_gather",
       2,
       both(kCp2, {"--cp-comm-type", "all_gather"}),
       {"--softmax-type", "off-by-one"}},
      {"softmax_off_by_one_cp4_both",
       4,
       both(kCp4, {"--cp-comm-type", "a2a+p2p", "--hierarchical-context-parallel-sizes", "2", "2"}),
       {"--softmax-type", "off-by-one"}},
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
      {"mapping_etp2_ep2", 8,
       both(mapping, split_words("--context-parallel-size 4 --expert-model-parallel-size 2 "
                                 "--expert-tensor-parallel-size 2 --moe-token-dispatcher-type alltoall"))},
      {"tp2_etp4", 4, both(kTp2, {"--expert-tensor-parallel-size", "4"})},
      {"tp4_etp8_gqa", 8, both(kTp4, {"--expert-tensor-parallel-size", "8"}), kGqa},
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

}  // namespace

const std::vector<LayoutCase>& layout_cases() {
  static const std::vector<LayoutCase> all = [] {
    std::vector<LayoutCase> cases = chosen_cases();
    for (const auto& more : {special_cases(), covering_layout_cases()})
      cases.insert(cases.end(), more.begin(), more.end());
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

#include "config/table/rows.h"

namespace conclave {
namespace {

void add_latent(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kAttention;
  CONCLAVE_OPTION(attention, multi_latent_attention, "Latent attention (DeepSeek).").shape();
  CONCLAVE_OPTION(attention, q_lora_rank, "Rank of the query latent; 0: a direct projection.").at_least(0).shape();
  CONCLAVE_OPTION(attention, kv_lora_rank, "Rank of the key/value latent.").at_least(1).shape();
  CONCLAVE_OPTION(attention, qk_head_dim, "Elements of a head that are not rotated.").at_least(1).shape();
  CONCLAVE_OPTION(attention, qk_pos_emb_head_dim, "Elements of a head that are rotated.").at_least(1).shape();
  CONCLAVE_OPTION(attention, v_head_dim, "Elements of a value head.").at_least(1).shape();
  CONCLAVE_OPTION(attention, rope_type, "Rotation of latent attention. Default: yarn.")
      .one_of({"rope", "yarn"})
      .shape();
  CONCLAVE_OPTION(attention, rotary_scaling_factor, "Context extension factor of latent attention.").above(0).shape();
  CONCLAVE_OPTION(attention, mscale, "YaRN: scale of the rotation.").shape();
  CONCLAVE_OPTION(attention, mscale_all_dim, "YaRN: scale of the softmax.").shape();
  CONCLAVE_OPTION(attention, yarn_beta_fast, "YaRN: fast bound of the ramp.").above(0).shape();
  CONCLAVE_OPTION(attention, yarn_beta_slow, "YaRN: slow bound of the ramp.").above(0).shape();
  CONCLAVE_OPTION(attention, yarn_original_max_position_embeddings, "YaRN: context length before extension.")
      .at_least(1)
      .shape();
  CONCLAVE_OPTION(attention, yarn_correction_range_round_to_int, "YaRN: round the bounds of the ramp.").shape();
  CONCLAVE_OPTION(attention, rotary_attention_factor,
                  "Multiplies cosines and sines of the rotation. Default: from --mscale and --mscale-all-dim.")
      .above(0)
      .shape();
  CONCLAVE_OPTION(attention, latent_norm_epsilon, "Epsilon of the latents' norms. Default: --norm-epsilon.")
      .above(0)
      .shape();
  CONCLAVE_OPTION(attention, latent_rotary_by_halves,
                  "Latent attention rotates halves of the rotated part instead of neighbouring elements.")
      .shape();
}

void add_linear_and_sparse(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kAttention;
  CONCLAVE_OPTION(attention, experimental_attention_variant, "Gated DeltaNet or DeepSeek sparse attention.")
      .one_of({"gdn", "gdn2", "dsa", "gated_delta_net"})
      .shape();
  CONCLAVE_OPTION(attention, linear_attention_freq,
                  "N: every N-th layer has full attention, the others linear; a list: 1 = linear.")
      .expression()
      .shape();
  CONCLAVE_OPTION(attention, linear_conv_kernel_dim, "Gated DeltaNet: width of the convolution.").at_least(1).shape();
  CONCLAVE_OPTION(attention, linear_key_head_dim, "Gated DeltaNet: size of a key head.").at_least(1).shape();
  CONCLAVE_OPTION(attention, linear_value_head_dim, "Gated DeltaNet: size of a value head.").at_least(1).shape();
  CONCLAVE_OPTION(attention, linear_num_key_heads, "Gated DeltaNet: key heads.").at_least(1).shape();
  CONCLAVE_OPTION(attention, linear_num_value_heads, "Gated DeltaNet: value heads.").at_least(1).shape();
  CONCLAVE_OPTION(attention, dsa_indexer_n_heads, "Sparse attention: heads of the indexer.").at_least(0).shape();
  CONCLAVE_OPTION(attention, dsa_indexer_head_dim, "Sparse attention: size of an indexer head.").at_least(0).shape();
  CONCLAVE_OPTION(attention, dsa_indexer_topk, "Sparse attention: tokens kept for a query.").at_least(0).shape();
  CONCLAVE_OPTION(attention, dsa_indexer_loss_coeff, "Sparse attention: weight of the indexer's loss.").at_least(0);
  CONCLAVE_OPTION(attention, dsa_indexer_use_sparse_loss, "Sparse attention: the loss looks at kept tokens only.");
}

}  // namespace

void add_attention_rows(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kAttention;
  add_latent(rows);
  add_linear_and_sparse(rows);
  CONCLAVE_OPTION(attention, mtp_num_layers, "Extra prediction depths; 0: none.").at_least(0).shape();
  CONCLAVE_OPTION(attention, mtp_loss_scaling_factor, "Weight of the extra predictions' loss.").at_least(0);
  add_not_active_rows(rows, group,
                      {{"mla-down-proj-fusion", kFlag, "", "Fuses two products of latent attention."},
                       {"cache-mla-latents", kFlag, "", "Generation always keeps latents."},
                       {"dsa-kernel-backend", kString, "none", "Choice of a sparse-attention kernel."},
                       {"gdp-cutedsl-kernel", kFlag, "", "Choice of a kernel."}});
  add_unavailable_rows(rows, group, "further options of sparse attention",
                       {{"dsa-indexer-k-norm-epsilon", kFloat, "", "Epsilon of the indexer's key norm."},
                        {"dsa-indexer-k-norm-fp32", kFlag, "", "The indexer's key norm in f32."},
                        {"dsa-indexer-rope-interleaved", kFlag, "", "The indexer rotates neighbouring elements."},
                        {"dsa-indexer-rotate-activation", kFlag, "true", "The indexer applies a Hadamard transform."},
                        {"dsa-indexer-scoring-relu", kFlag, "true", "The indexer's scores pass through ReLU."},
                        {"dsa-indexer-skip-topk-offset", kInt, "0", "First layer that may reuse another's choice."},
                        {"dsa-indexer-topk-freq", kInt, "1", "Every how many layers the choice is made anew."}});
  add_unavailable_rows(rows, group, "further options of multi-token prediction",
                       {{"mtp-detach-heads", kFlag, "", "Prediction heads send no gradient into the trunk."},
                        {"mtp-hsm", kFlag, "", "Another form of the prediction heads."},
                        {"mtp-hybrid-override-pattern", kString, "", "Layer kinds of the prediction depths."},
                        {"mtp-standalone", kFlag, "", "Prediction depths on a stage of their own."},
                        {"mtp-use-repeated-layer", kFlag, "", "All depths share one layer."}});
  add_unavailable_rows(
      rows, group, "hybrid state-space models",
      {{"hybrid-layer-pattern", kString, "", "Layer kinds as a text."},
       {"hybrid-override-pattern", kString, "", "Layer kinds as a text (older)."},
       {"is-hybrid-model", kFlag, "", "The model mixes state-space and attention layers."},
       {"mamba-head-dim", kInt, "64", "Mamba: size of a head."},
       {"mamba-num-groups", kInt, "8", "Mamba: groups."},
       {"mamba-num-heads", kInt, "", "Mamba: heads."},
       {"mamba-state-dim", kInt, "128", "Mamba: size of the state."},
       {"mamba-training-ssm-states-dtype", kString, "", "Mamba: dtype of the state in training."},
       {"mamba-inference-conv-states-dtype", kString, "bf16", "Mamba: dtype of the convolution state."},
       {"mamba-inference-ssm-states-dtype", kString, "bf16", "Mamba: dtype of the state in generation."},
       {"use-mamba-mem-eff-path", kFlag, "true", "Mamba: fused path.", "disable-mamba-mem-eff-path"},
       {"gdp-num-chunk-states-to-recompute", kInt, "2", "Gated delta product: chunks to recompute."},
       {"gdp-num-householder", kInt, "3", "Gated delta product: reflections of a step."}});
  add_unavailable_rows(rows, group, "hyper-connections",
                       {{"enable-mhc-connections", kFlag, "", "Several residual streams with mixing."},
                        {"mhc-init-gating-factor", kFloat, "0.01", "Initial gate."},
                        {"mhc-num-residual-streams", kInt, "4", "Residual streams."},
                        {"mhc-recompute-layer-num", kInt, "", "Layers recomputed together."},
                        {"mhc-sinkhorn-iterations", kInt, "20", "Iterations of the mixing matrix."}});
  add_unavailable_rows(
      rows, group, "further attention and position variants",
      {{"mrope-section", kIntList, "", "Sections of multimodal rotation."},
       {"no-rope-freq", kString, "", "Layers without rotation."},
       {"relative-attention-max-distance", kInt, "128", "Relative positions: longest distance."},
       {"relative-attention-num-buckets", kInt, "32", "Relative positions: buckets."},
       {"heterogeneous-layers-config-path", kString, "", "A file with one description per layer."},
       {"heterogeneous-layers-config-encoded-json", kString, "", "One description per layer as text."}});
}

}  // namespace conclave

// What the transformer is, apart from its experts. Field names are the option names with underscores.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace conclave {

/// An integer of 0 in a field marked "0: derived" means "not given"; resolve() replaces it.
struct ModelOptions {
  int64_t num_layers = 0;       ///< L, decoder layers; required
  int64_t hidden_size = 0;      ///< H; required
  int64_t ffn_hidden_size = 0;  ///< width of a dense MLP; 0: derived, 4H, or int(4H*2/3/64)*64 with a gated activation
  int64_t num_attention_heads = 0;  ///< query heads; required
  int64_t kv_channels = 0;          ///< size of one head; 0: derived, H / heads
  bool group_query_attention = false;
  int64_t num_query_groups =
      1;  ///< key/value heads; counts only with group_query_attention, resolve() makes it heads otherwise
  int64_t seq_length = 0;               ///< S, tokens of one sample; required
  int64_t max_position_embeddings = 0;  ///< 0: derived, seq_length
  std::string position_embedding_type =
      "learned_absolute";                       ///< learned_absolute, rope, yarn, none (mrope, relative: later)
  bool use_rotary_position_embeddings = false;  ///< resolve() turns it into position_embedding_type rope
  bool add_position_embedding = true;           ///< false (--no-position-embedding) is legal only with rope
  double rotary_base = 10000;
  double rotary_percent = 1.0;  ///< share of a head's elements that are rotated
  bool rotary_interleaved = false;
  double rotary_seq_len_interpolation_factor = 0;  ///< positions are divided by it; 0: off
  bool use_rope_scaling = false;                   ///< Llama-3.1 frequency scaling
  double rope_scaling_factor = 8.0;                ///< its factor
  double rope_scaling_low_freq_factor = 1.0;       ///< its bounds, as original length / wavelength
  double rope_scaling_high_freq_factor = 4.0;
  int64_t rope_scaling_original_length = 8192;
  std::string normalization = "LayerNorm";  ///< LayerNorm, RMSNorm
  double norm_epsilon = 1e-5;
  bool apply_layernorm_1p = false;  ///< weights are stored minus one
  bool swiglu = false;              ///< gated SiLU
  bool geglu = false;               ///< gated GELU (erf form)
  bool quick_geglu = false;         ///< gated x*sigmoid(1.702x)
  bool squared_relu = false;
  bool openai_gelu = false;                           ///< tanh form everywhere
  bool bias_gelu_fusion = true;                       ///< dense MLPs with bias: the tanh form of GELU; false: erf
  double glu_linear_offset = 0;                       ///< added to the linear half of a gated MLP
  std::optional<double> activation_func_clamp_value;  ///< experts: gate clamped above, linear half on both sides
  bool add_bias_linear = true;                        ///< false: --disable-bias-linear
  bool add_qkv_bias = false;                          ///< bias on the QKV projection alone
  bool add_attention_bias = false;  ///< biases in the attention's projections; latent attention: down and out
  bool add_mlp_bias = false;        ///< biases in dense MLPs
  bool untie_embeddings_and_output_weights = false;
  bool apply_residual_connection_post_layernorm = false;
  double attention_dropout = 0.1;
  double hidden_dropout = 0.1;
  double init_method_std = 0.02;
  bool init_method_xavier_uniform = false;
  std::optional<double> embedding_init_method_std;  ///< else init_method_std
  bool qk_layernorm = false;                        ///< norm of each head of q and k, before rotation
  bool qk_l2_norm = false;
  bool attention_output_gate = false;
  std::string softmax_type = "vanilla";  ///< vanilla, off-by-one, learnable
  std::vector<int64_t> window_size;  ///< {left, right} tokens seen beside the own one; empty: no window, -1: no limit
  std::optional<std::string>
      window_attn_skip_freq;  ///< n: every n-th layer has full attention; list: 1 = window, 0 = full
  bool apply_query_key_layer_scaling = false;
  bool attention_softmax_in_fp32 = false;  ///< it always is; accepted
  int64_t make_vocab_size_divisible_by = 128;
  int64_t vocab_size = 0;         ///< without padding; 0: derived from the tokenizer
  int64_t padded_vocab_size = 0;  ///< 0: derived
  bool calculate_per_token_loss = false;
};

/// Attention and prediction variants beyond grouped-query attention.
struct AttentionVariantOptions {
  bool multi_latent_attention = false;
  int64_t q_lora_rank = 0;  ///< 0: direct query projection
  int64_t kv_lora_rank = 32;
  int64_t qk_head_dim = 128;
  int64_t qk_pos_emb_head_dim = 64;
  int64_t v_head_dim = 128;
  std::optional<std::string> rope_type;  ///< rope, yarn
  double rotary_scaling_factor = 1.0;
  double mscale = 1.0;
  double mscale_all_dim = 0.0;
  double yarn_beta_fast = 32;
  double yarn_beta_slow = 1;
  int64_t yarn_original_max_position_embeddings = 4096;
  bool yarn_correction_range_round_to_int = true;
  std::optional<double> rotary_attention_factor;  ///< multiplies cos and sin; else from mscale and mscale_all_dim
  std::optional<double> latent_norm_epsilon;      ///< norms of the latents; else norm_epsilon
  bool latent_rotary_by_halves = false;           ///< rotate halves of the rotated part, not neighbours
  std::optional<std::string> experimental_attention_variant;  ///< gdn, gated_delta_net, dsa
  std::optional<std::string> linear_attention_freq;
  int64_t linear_conv_kernel_dim = 4;
  int64_t linear_key_head_dim = 128;
  int64_t linear_value_head_dim = 128;
  int64_t linear_num_key_heads = 16;
  int64_t linear_num_value_heads = 32;
  int64_t dsa_indexer_n_heads = 0;
  int64_t dsa_indexer_head_dim = 0;
  int64_t dsa_indexer_topk = 0;
  double dsa_indexer_loss_coeff = 0;
  bool dsa_indexer_use_sparse_loss = false;
  int64_t mtp_num_layers = 0;  ///< extra prediction depths; 0: none
  double mtp_loss_scaling_factor = 0.1;
};

}  // namespace conclave

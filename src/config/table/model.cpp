#include "config/table/rows.h"

namespace conclave {
namespace {

void add_sizes(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kModel;
  CONCLAVE_OPTION(model, num_layers, "Decoder layers. Required.").at_least(1).shape();
  CONCLAVE_OPTION(model, hidden_size, "Width of the residual stream. Required.").at_least(1).shape();
  CONCLAVE_OPTION(model, ffn_hidden_size,
                  "Width of a dense MLP. Default: 4 times the hidden size; with swiglu or geglu 2/3 of that, rounded "
                  "down to a multiple of 64.")
      .at_least(0)
      .shape();
  CONCLAVE_OPTION(model, num_attention_heads, "Query heads. Required.").at_least(1).shape();
  CONCLAVE_OPTION(model, kv_channels, "Size of one head. Default: hidden size / heads.").at_least(0).shape();
  CONCLAVE_OPTION(model, group_query_attention, "Query heads share key/value heads.").shape();
  CONCLAVE_OPTION(model, num_query_groups, "Key/value heads with --group-query-attention.").at_least(1).shape();
  CONCLAVE_OPTION(model, seq_length, "Tokens of one sample. Required.").at_least(1).alias("encoder-seq-length");
  CONCLAVE_OPTION(model, max_position_embeddings, "Longest sequence the model can see. Default: the sequence length.")
      .at_least(0)
      .shape();
  CONCLAVE_OPTION(model, vocab_size, "Tokens in the vocabulary, without padding. Default: the tokenizer's.")
      .at_least(0)
      .shape();
  CONCLAVE_OPTION(model, padded_vocab_size, "Rows of the embedding. Default: the vocabulary padded to a multiple.")
      .at_least(0)
      .shape();
  CONCLAVE_OPTION(model, make_vocab_size_divisible_by, "The vocabulary is padded to a multiple of this.")
      .at_least(1)
      .shape();
}

void add_positions(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kModel;
  CONCLAVE_OPTION(model, position_embedding_type, "How positions enter.")
      .one_of({"learned_absolute", "rope", "yarn", "mrope", "relative", "none"})
      .shape();
  CONCLAVE_OPTION(model, use_rotary_position_embeddings, "The same as --position-embedding-type rope.").shape();
  CONCLAVE_OPTION(model, add_position_embedding,
                  "Learned positions; --no-position-embedding is legal only together with rope or none.")
      .negative("no-position-embedding")
      .shape();
  CONCLAVE_OPTION(model, rotary_base, "Base of the rotary frequencies.").above(0).shape();
  CONCLAVE_OPTION(model, rotary_percent, "Share of a head that is rotated.").between(0, 1).shape();
  CONCLAVE_OPTION(model, rotary_interleaved, "Rotate neighbouring elements instead of halves.").shape();
  CONCLAVE_OPTION(model, rotary_seq_len_interpolation_factor, "Positions are divided by this.").at_least(0).shape();
  CONCLAVE_OPTION(model, use_rope_scaling, "Scale rotary frequencies as Llama 3.1 does.").shape();
  CONCLAVE_OPTION(model, rope_scaling_factor, "Factor of --use-rope-scaling.").at_least(1).shape();
  CONCLAVE_OPTION(model, rope_scaling_low_freq_factor, "--use-rope-scaling: below it frequencies are divided.")
      .above(0)
      .shape();
  CONCLAVE_OPTION(model, rope_scaling_high_freq_factor, "--use-rope-scaling: above it frequencies are kept.")
      .above(0)
      .shape();
  CONCLAVE_OPTION(model, rope_scaling_original_length, "--use-rope-scaling: context length before extension.")
      .at_least(1)
      .shape();
}

void add_blocks(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kModel;
  CONCLAVE_OPTION(model, normalization, "Kind of norm.").one_of({"LayerNorm", "RMSNorm"}).shape();
  CONCLAVE_OPTION(model, norm_epsilon, "Added under the root of a norm.").above(0).alias("layernorm-epsilon").shape();
  CONCLAVE_OPTION(model, apply_layernorm_1p, "Norm weights are stored minus one.").shape();
  CONCLAVE_OPTION(model, swiglu, "Gated SiLU in every MLP.").shape();
  CONCLAVE_OPTION(model, geglu, "Gated GELU (erf form) in every MLP.").shape();
  CONCLAVE_OPTION(model, quick_geglu, "Gated x*sigmoid(1.702x) in every MLP.").shape();
  CONCLAVE_OPTION(model, squared_relu, "max(x,0)^2 in every MLP.").shape();
  CONCLAVE_OPTION(model, openai_gelu, "The tanh form of GELU everywhere.").shape();
  CONCLAVE_OPTION(model, bias_gelu_fusion,
                  "Dense MLPs with a bias use the tanh form of GELU; --no-bias-gelu-fusion: the erf form.")
      .shape();
  CONCLAVE_OPTION(model, glu_linear_offset, "Added to the linear half of a gated MLP.").shape();
  CONCLAVE_OPTION(model, activation_func_clamp_value,
                  "Experts: the gate is clamped above, the linear half on both sides.")
      .above(0)
      .shape();
  CONCLAVE_OPTION(model, add_bias_linear, "Biases in every linear layer; off with --disable-bias-linear.")
      .negative("disable-bias-linear")
      .shape();
  CONCLAVE_OPTION(model, add_qkv_bias, "A bias in the QKV projection alone.").shape();
  CONCLAVE_OPTION(model, add_attention_bias,
                  "Biases in the attention's projections alone; latent attention: in the down and output projections.")
      .shape();
  CONCLAVE_OPTION(model, add_mlp_bias, "Biases in dense MLPs alone.").shape();
  CONCLAVE_OPTION(model, untie_embeddings_and_output_weights, "The output layer has weights of its own.").shape();
  CONCLAVE_OPTION(model, apply_residual_connection_post_layernorm, "The residual starts after the norm.").shape();
  CONCLAVE_OPTION(model, qk_layernorm, "Norm of each head of q and k before the rotation.").shape();
  CONCLAVE_OPTION(model, qk_l2_norm, "L2 norm of each head of q and k.").shape();
  CONCLAVE_OPTION(model, attention_output_gate, "A sigmoid gate on the attention output.").shape();
  CONCLAVE_OPTION(
      model, softmax_type,
      "Denominator of the attention softmax: as it is, with 1 more, or with e^(a number learned per head) more.")
      .one_of({"vanilla", "off-by-one", "learnable"})
      .shape();
  CONCLAVE_OPTION(model, window_size, "Sliding window LEFT,RIGHT: tokens seen beside the own one; -1: no limit.")
      .count(2, 2)
      .at_least(-1)
      .shape();
  CONCLAVE_OPTION(model, window_attn_skip_freq,
                  "N: every N-th layer sees everything; a list: 1 = window, 0 = everything.")
      .expression()
      .shape();
  CONCLAVE_OPTION(model, apply_query_key_layer_scaling, "Scale attention scores by the layer number.");
  CONCLAVE_OPTION(model, attention_softmax_in_fp32, "The attention softmax is always computed in f32.").not_active();
}

void add_training_numbers(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kModel;
  CONCLAVE_OPTION(model, attention_dropout, "Dropout on attention probabilities.").between(0, 1);
  CONCLAVE_OPTION(model, hidden_dropout, "Dropout on the residual branches and the embedding.").between(0, 1);
  CONCLAVE_OPTION(model, init_method_std, "Standard deviation of initial weights.").at_least(0);
  CONCLAVE_OPTION(model, init_method_xavier_uniform, "Xavier-uniform initial weights.");
  CONCLAVE_OPTION(model, embedding_init_method_std, "Standard deviation of the embedding. Default: the others'.")
      .at_least(0);
  CONCLAVE_OPTION(model, calculate_per_token_loss,
                  "Average over all valid tokens of the step instead of per micro-batch.");
}

}  // namespace

void add_model_rows(OptionRows& rows) {
  add_sizes(rows);
  add_positions(rows);
  add_blocks(rows);
  add_training_numbers(rows);
  constexpr OptionGroup group = OptionGroup::kModel;
  add_not_active_rows(
      rows, group,
      {{"transformer-impl", OptionType::kString, "transformer_engine", "Choice of another library."},
       {"attention-backend", OptionType::kString, "auto", "Choice of another library's attention."},
       {"flash-attention-version", OptionType::kInt, "", "Version of another library."},
       {"use-flash-attn", OptionType::kFlag, "", "Attention never stores the score matrix here."},
       {"masked-softmax-fusion", OptionType::kFlag, "true", "Kernel fusion."},
       {"bias-swiglu-fusion", OptionType::kFlag, "true", "Kernel fusion."},
       {"bias-dropout-fusion", OptionType::kFlag, "true", "Kernel fusion."},
       {"persist-layer-norm", OptionType::kFlag, "true", "Choice of a norm kernel."},
       {"fused-residual-rmsnorm", OptionType::kFlag, "", "Kernel fusion."},
       {"use-fused-weighted-squared-relu", OptionType::kFlag, "", "Kernel fusion."},
       {"use-te-activation-func", OptionType::kFlag, "", "Choice of an activation kernel."},
       {"use-transformer-engine-op-fuser", OptionType::kFlag, "", "Another library's fusion."},
       {"use-grouped-gemm-for-dense-mlp", OptionType::kFlag, "", "Choice of a matrix product."},
       {"rope-fusion", OptionType::kFlag, "true", "Kernel fusion."},
       {"disable-jit-fuser", OptionType::kFlag, "", "Another implementation's compiler."},
       {"use-mcore-models", OptionType::kFlag, "", "Choice of another code base's model classes."},
       {"cross-entropy-loss-fusion", OptionType::kFlag, "", "The loss is always fused here."},
       {"cross-entropy-fusion-impl", OptionType::kString, "native", "Choice of a loss kernel."},
       {"use-cpu-initialization", OptionType::kFlag, "", "Initial weights do not depend on the device."},
       {"init-model-with-meta-device", OptionType::kFlag, "", "Where tensors are made first."},
       {"perform-initialization", OptionType::kFlag, "true", "Weights are always initialised.", "no-initialization"},
       {"clone-scatter-output-in-embedding", OptionType::kFlag, "true", "A copy in another code base."},
       {"pad-vocab-size", OptionType::kFlag, "true", "Padded rows do not exist for the results."},
       {"onnx-safe", OptionType::kFlag, "", "Another exporter's work-around."}});
}

}  // namespace conclave

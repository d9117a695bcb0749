#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "config/resolve.h"
#include "config/rules/rules.h"

namespace conclave {
namespace {

void check_required(Rules& rules) {
  if (!rules.sizes_required()) return;
  const ModelOptions& model = rules.raw.model;
  const std::pair<const char*, int64_t> sizes[] = {{"num-layers", model.num_layers},
                                                   {"hidden-size", model.hidden_size},
                                                   {"num-attention-heads", model.num_attention_heads},
                                                   {"seq-length", model.seq_length}};
  for (const auto& [key, value] : sizes) {
    rules.refuse(value == 0, "--{} is required for training; it is not given; add --{} N", key, key);
  }
  const TokenizerOptions& tokenizer = rules.raw.tokenizer;
  rules.refuse(!tokenizer.tokenizer_type && model.vocab_size == 0 && model.padded_vocab_size == 0,
               "the vocabulary is unknown; neither --tokenizer-type nor --vocab-size is given; add one");
}

void check_heads(Rules& rules) {
  const ModelOptions& model = rules.raw.model;
  const AttentionVariantOptions& attention = rules.raw.attention;
  const int64_t heads = model.num_attention_heads;
  if (heads > 0 && model.hidden_size > 0) {
    rules.refuse(model.kv_channels == 0 && !attention.multi_latent_attention && model.hidden_size % heads != 0,
                 "--hidden-size must be divisible by --num-attention-heads unless --kv-channels is given; got {} and "
                 "{}; change one of them or add --kv-channels N",
                 model.hidden_size, heads);
  }
  rules.refuse(model.group_query_attention && heads > 0 && heads % model.num_query_groups != 0,
               "--num-query-groups must divide --num-attention-heads; got {} and {}; change one of them",
               model.num_query_groups, heads);
  const ModelOptions& derived = rules.resolved.model;
  const double rotated = static_cast<double>(derived.kv_channels) * model.rotary_percent;
  const auto whole = static_cast<int64_t>(rotated);
  rules.refuse((derived.position_embedding_type == "rope" || derived.position_embedding_type == "yarn") &&
                   derived.kv_channels > 0 && !attention.multi_latent_attention && (whole % 2 != 0 || whole == 0),
               "rotary positions turn pairs: head size times --rotary-percent must be even and above 0; got {} * {}; "
               "change --kv-channels or --rotary-percent",
               derived.kv_channels, model.rotary_percent);
}

void check_positions(Rules& rules) {
  const ModelOptions& model = rules.raw.model;
  const std::string& type = rules.resolved.model.position_embedding_type;
  rules.refuse(model.max_position_embeddings > 0 && model.max_position_embeddings < model.seq_length,
               "--max-position-embeddings must be at least --seq-length; got {} and {}; raise the first or lower the "
               "second",
               model.max_position_embeddings, model.seq_length);
  rules.refuse(!model.add_position_embedding && type == "learned_absolute",
               "--no-position-embedding is legal only with rotary positions or none; got --position-embedding-type {}; "
               "add --position-embedding-type rope",
               type);
  rules.refuse(
      model.use_rotary_position_embeddings && rules.given("position-embedding-type") &&
          model.position_embedding_type != "rope",
      "--use-rotary-position-embeddings means --position-embedding-type rope; got {} as well; drop one of them",
      model.position_embedding_type);
  rules.refuse(model.use_rope_scaling && type != "rope",
               "--use-rope-scaling scales rotary positions; got --position-embedding-type {}; add "
               "--position-embedding-type rope",
               type);
  rules.refuse(model.rotary_seq_len_interpolation_factor > 0 && type != "rope",
               "--rotary-seq-len-interpolation-factor scales rotary positions; got --position-embedding-type {}; add "
               "--position-embedding-type rope",
               type);
}

void check_activation(Rules& rules) {
  const ModelOptions& model = rules.raw.model;
  std::vector<std::string> chosen;
  if (model.swiglu) chosen.push_back("--swiglu");
  if (model.geglu) chosen.push_back("--geglu");
  if (model.quick_geglu) chosen.push_back("--quick-geglu");
  if (model.squared_relu) chosen.push_back("--squared-relu");
  if (model.openai_gelu) chosen.push_back("--openai-gelu");
  rules.refuse(chosen.size() > 1, "an MLP has one activation; got {}; keep one of them", join(chosen, " and "));
  rules.refuse(model.glu_linear_offset != 0 && !has_gated_activation(model),
               "--glu-linear-offset needs a gated activation; got {}; add --swiglu, --geglu or --quick-geglu",
               model.glu_linear_offset);
  rules.refuse(model.activation_func_clamp_value && !has_gated_activation(model),
               "--activation-func-clamp-value needs a gated activation; got {}; add --swiglu, --geglu or --quick-geglu",
               model.activation_func_clamp_value.value_or(0));
}

void check_rest(Rules& rules) {
  const ModelOptions& model = rules.raw.model;
  rules.refuse(model.attention_dropout >= 1, "--attention-dropout must be below 1; got {}; nothing would be left",
               model.attention_dropout);
  rules.refuse(model.hidden_dropout >= 1, "--hidden-dropout must be below 1; got {}; nothing would be left",
               model.hidden_dropout);
  rules.refuse(model.padded_vocab_size > 0 && model.padded_vocab_size < model.vocab_size,
               "--padded-vocab-size must be at least --vocab-size; got {} and {}; leave the first out",
               model.padded_vocab_size, model.vocab_size);
  rules.refuse(model.window_attn_skip_freq && model.window_size.empty(),
               "--window-attn-skip-freq needs --window-size; it is not given; add --window-size LEFT,RIGHT");
  if (!model.window_size.empty() && model.window_size[1] > 0) {
    rules.refuse(true, "--window-size LEFT,RIGHT: a causal model sees nothing to the right; got {},{}; write {},0",
                 model.window_size[0], model.window_size[1], model.window_size[0]);
  }
  if (model.num_layers > 0) {
    try {
      windowed_layers(rules.raw);
    } catch (const UserError& error) {
      rules.problems.push_back(error.what());
    }
  }
}

}  // namespace

void check_model_rules(Rules& rules) {
  check_required(rules);
  check_heads(rules);
  check_positions(rules);
  check_activation(rules);
  check_rest(rules);
}

void check_attention_rules(Rules& rules) {
  const ModelOptions& model = rules.raw.model;
  const AttentionVariantOptions& attention = rules.raw.attention;
  const bool latent = attention.multi_latent_attention;
  rules.refuse(latent && model.group_query_attention,
               "--multi-latent-attention and --group-query-attention exclude each other; both are given; drop one");
  rules.refuse(latent && model.rotary_interleaved,
               "--multi-latent-attention has its own rotation; got --rotary-interleaved; drop it");
  rules.refuse(latent && model.attention_output_gate,
               "--attention-output-gate does not go with --multi-latent-attention; both are given; drop one");
  rules.refuse(latent && model.position_embedding_type == "yarn",
               "--multi-latent-attention takes YaRN by --rope-type; got --position-embedding-type yarn; write rope");
  rules.refuse(latent && attention.qk_pos_emb_head_dim % 2 != 0,
               "--qk-pos-emb-head-dim must be even: rotation turns pairs; got {}; change it",
               attention.qk_pos_emb_head_dim);
  rules.refuse(
      model.rope_scaling_high_freq_factor <= model.rope_scaling_low_freq_factor,
      "--rope-scaling-high-freq-factor must be above --rope-scaling-low-freq-factor; got {} and {}; change one",
      model.rope_scaling_high_freq_factor, model.rope_scaling_low_freq_factor);
  const auto variant = attention.experimental_attention_variant.value_or("");
  rules.refuse(variant == "dsa" && !latent,
               "--experimental-attention-variant dsa needs --multi-latent-attention; it is not given; add it");
  rules.refuse(variant == "dsa" && model.add_bias_linear,
               "--experimental-attention-variant dsa has no biases; linear biases are on; add --disable-bias-linear");
  rules.refuse(attention.linear_attention_freq && (variant.empty() || variant == "dsa"),
               "--linear-attention-freq needs a linear attention; got --experimental-attention-variant {}; choose gdn",
               variant.empty() ? "none" : variant);
  rules.refuse(
      attention.linear_num_value_heads % attention.linear_num_key_heads != 0,
      "--linear-num-value-heads must be divisible by --linear-num-key-heads; got {} and {}; change one of them",
      attention.linear_num_value_heads, attention.linear_num_key_heads);
  const std::string& type = rules.resolved.model.position_embedding_type;
  rules.refuse(
      attention.mtp_num_layers > 0 && type != "rope" && type != "yarn" && type != "none" && type != "learned_absolute",
      "--mtp-num-layers works with rope, yarn, none or learned_absolute; got --position-embedding-type {}; change it",
      type);
  rules.refuse(
      attention.mtp_num_layers > 0 && type == "learned_absolute" && rules.raw.parallel.pipeline_model_parallel_size > 1,
      "--mtp-num-layers in a pipeline: the last stage has no learned positions; got --position-embedding-type "
      "learned_absolute; choose rope");
}

}  // namespace conclave

#include "spec/model_spec.h"

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "config/resolve.h"

namespace conclave {
namespace {

std::string activation_word(const ModelOptions& model, bool dense) {
  if (model.swiglu) return "swiglu";
  if (model.geglu) return "geglu";
  if (model.quick_geglu) return "quick_geglu";
  if (model.squared_relu) return "squared_relu";
  // Fused bias+GELU is the tanh form; it exists for dense layers with biases alone.
  if (model.openai_gelu || (dense && model.bias_gelu_fusion && model.add_bias_linear)) return "gelu_tanh";
  return "gelu";
}

MlpSpec make_mlp(const ModelOptions& model, int64_t width, bool dense) {
  MlpSpec mlp;
  mlp.width = width;
  mlp.activation = activation_word(model, dense);
  mlp.gated = has_gated_activation(model);
  mlp.bias = model.add_bias_linear || (dense && model.add_mlp_bias);
  // The clamp is for experts only.
  if (!dense && model.activation_func_clamp_value) mlp.clamp = *model.activation_func_clamp_value;
  mlp.linear_offset = model.glu_linear_offset;
  return mlp;
}

RopeSpec make_rope(const Options& options, bool yarn, int64_t rotated) {
  const ModelOptions& model = options.model;
  const AttentionVariantOptions& variant = options.attention;
  RopeSpec rope;
  rope.base = model.rotary_base;
  rope.rotated = rotated;
  if (model.rotary_seq_len_interpolation_factor > 0) rope.interpolation = model.rotary_seq_len_interpolation_factor;
  if (yarn) {
    rope.scaling = RopeScaling::kYarn;
    rope.factor = variant.rotary_scaling_factor;
    rope.original_length = variant.yarn_original_max_position_embeddings;
    rope.beta_fast = variant.yarn_beta_fast;
    rope.beta_slow = variant.yarn_beta_slow;
    rope.whole_bounds = variant.yarn_correction_range_round_to_int;
    rope.attention_factor = yarn_mscale(rope.factor, variant.mscale) / yarn_mscale(rope.factor, variant.mscale_all_dim);
  } else if (model.use_rope_scaling) {
    rope.scaling = RopeScaling::kLlama3;
    rope.factor = model.rope_scaling_factor;
    rope.original_length = model.rope_scaling_original_length;
    rope.low_frequency = model.rope_scaling_low_freq_factor;
    rope.high_frequency = model.rope_scaling_high_freq_factor;
  }
  rope.attention_factor = variant.rotary_attention_factor.value_or(rope.attention_factor);
  return rope;
}

void make_latent(const Options& options, AttentionSpec* attention) {
  const AttentionVariantOptions& variant = options.attention;
  LatentSpec latent;
  latent.q_rank = variant.q_lora_rank;
  latent.kv_rank = variant.kv_lora_rank;
  latent.plain = variant.qk_head_dim;
  latent.rotated = variant.qk_pos_emb_head_dim;
  latent.value = variant.v_head_dim;
  latent.norms = options.model.qk_layernorm;
  latent.epsilon = variant.latent_norm_epsilon.value_or(options.model.norm_epsilon);
  latent.down_bias = options.model.add_attention_bias;
  latent.mscale = yarn_mscale(variant.rotary_scaling_factor, variant.mscale_all_dim);
  attention->groups = attention->heads;
  attention->head_dim = latent.plain + latent.rotated;
  attention->qk_norm = false;
  attention->qkv_bias = false;
  attention->rope = make_rope(options, variant.rope_type.value_or("yarn") == "yarn", latent.rotated);
  attention->rope->interleaved = !variant.latent_rotary_by_halves;
  attention->latent = latent;
}

AttentionSpec make_attention(const Options& options, bool windowed) {
  const ModelOptions& model = options.model;
  AttentionSpec attention;
  attention.heads = model.num_attention_heads;
  attention.groups = model.num_query_groups;
  attention.head_dim = model.kv_channels;
  if (windowed && model.window_size[0] >= 0)
    attention.window = model.window_size[0] + 1;  // {left, right} counts the tokens beside the own one
  attention.qkv_bias = model.add_bias_linear || model.add_qkv_bias || model.add_attention_bias;
  attention.projection_bias = model.add_bias_linear || model.add_attention_bias;
  attention.qk_norm = model.qk_layernorm;
  attention.dropout = model.attention_dropout;
  attention.softmax = model.softmax_type;
  if (options.attention.multi_latent_attention) {
    make_latent(options, &attention);
  } else if (model.position_embedding_type == "rope" || model.position_embedding_type == "yarn") {
    const auto rotated = static_cast<int64_t>(static_cast<double>(model.kv_channels) * model.rotary_percent);
    attention.rope = make_rope(options, model.position_embedding_type == "yarn", rotated);
    attention.rope->interleaved = model.rotary_interleaved;
  }
  return attention;
}

RouterSpec make_router(const Options& options) {
  const MoeOptions& moe = options.moe;
  RouterSpec router;
  router.experts = moe.num_experts;
  router.topk = moe.moe_router_topk;
  router.score_function = moe.moe_router_score_function;
  router.pre_softmax = moe.moe_router_pre_softmax;
  router.scaling_factor = moe.moe_router_topk_scaling_factor;
  if (moe.moe_router_group_topk > 0) {
    router.groups = moe.moe_router_num_groups;
    router.group_topk = moe.moe_router_group_topk;
    router.group_score = moe.moe_router_group_score;
  }
  router.norm_topk_prob = moe.moe_router_norm_topk_prob;
  router.expert_bias = moe.moe_router_enable_expert_bias;
  router.bias_update_rate = moe.moe_router_bias_update_rate;
  router.linear_bias = options.model.add_bias_linear;
  router.dtype = moe.moe_router_dtype.value_or("");
  router.jitter = moe.moe_input_jitter_eps;
  router.force_balance = moe.moe_router_force_load_balancing;
  router.force_biased = moe.moe_router_force_biased;
  for (size_t i = 0; i < moe.moe_router_load_balancing_type.size(); ++i) {
    const std::string& kind = moe.moe_router_load_balancing_type[i];
    if (kind == "sinkhorn") router.sinkhorn = true;
    if (kind == "sinkhorn" || kind == "none") continue;
    const double coefficient = i < moe.moe_aux_loss_coeff.size() ? moe.moe_aux_loss_coeff[i] : 0;
    if (coefficient != 0) router.balance.push_back({kind, coefficient});
  }
  router.z_loss = moe.moe_z_loss_coeff;
  if (moe.moe_expert_capacity_factor && *moe.moe_expert_capacity_factor >= 0)
    router.capacity_factor = moe.moe_expert_capacity_factor;
  router.pad_to_capacity = moe.moe_pad_expert_input_to_capacity;
  router.drop_policy = moe.moe_token_drop_policy;
  router.replay = moe.moe_enable_routing_replay;
  return router;
}

int64_t mlp_parameters(const MlpSpec& mlp, int64_t hidden) {
  const int64_t fc1 = mlp.width * (mlp.gated ? 2 : 1);
  return fc1 * hidden + hidden * mlp.width + (mlp.bias ? fc1 + hidden : 0);
}

int64_t norm_parameters(const NormSpec& norm, int64_t width) {
  return norm.family == NormFamily::kLayerNorm ? 2 * width : width;
}

}  // namespace

double AttentionSpec::softmax_scale() const {
  const double mscale = latent ? latent->mscale : 1;
  return mscale * mscale / std::sqrt(static_cast<double>(head_dim));
}

bool ModelSpec::has_experts() const {
  for (const LayerSpec& layer : layers) {
    if (layer.ffn == FfnKind::kMoe) return true;
  }
  return false;
}

double ModelSpec::output_init_std() const { return init_std / std::sqrt(2.0 * static_cast<double>(layers.size())); }

ModelSpec make_model_spec(const Options& options, int64_t vocab) {
  const ModelOptions& model = options.model;
  ModelSpec spec;
  spec.vocab = vocab;
  spec.hidden = model.hidden_size;
  spec.sequence_length = model.seq_length;
  spec.max_positions = model.max_position_embeddings > 0 ? model.max_position_embeddings : model.seq_length;
  spec.positions = model.position_embedding_type == "rope" || model.position_embedding_type == "yarn"
                       ? PositionKind::kRope
                   : model.position_embedding_type == "learned_absolute" ? PositionKind::kLearned
                                                                         : PositionKind::kNone;
  spec.norm.family = model.normalization == "RMSNorm" ? NormFamily::kRmsNorm : NormFamily::kLayerNorm;
  spec.norm.epsilon = model.norm_epsilon;
  spec.norm.one_plus = model.apply_layernorm_1p;
  spec.tied_embeddings = !model.untie_embeddings_and_output_weights;
  spec.hidden_dropout = model.hidden_dropout;
  spec.init_std = model.init_method_std;
  spec.embedding_init_std = model.embedding_init_method_std.value_or(model.init_method_std);
  spec.xavier_uniform = model.init_method_xavier_uniform;
  spec.norm_weight_decay_qk = options.optimizer.apply_wd_to_qk_layernorm;
  const std::vector<bool> pattern = moe_layers(options), windowed = windowed_layers(options);
  for (int64_t i = 0; i < model.num_layers; ++i) {
    LayerSpec layer;
    layer.attention = make_attention(options, windowed[static_cast<size_t>(i)]);
    if (pattern[static_cast<size_t>(i)]) {
      layer.ffn = FfnKind::kMoe;
      layer.moe.router = make_router(options);
      layer.moe.expert = make_mlp(model, options.moe.moe_ffn_hidden_size, false);
      layer.moe.shared_width = options.moe.moe_shared_expert_intermediate_size;
      layer.moe.shared_gate = options.moe.moe_shared_expert_gate;
      layer.moe.probs_on_input = options.moe.moe_apply_probs_on_input;
      layer.moe.dispatcher = options.moe.moe_token_dispatcher_type;
      if (layer.moe.dispatcher == "flex") layer.moe.dispatcher = options.moe.moe_flex_dispatcher_backend;
      layer.moe.shared_overlap = options.moe.moe_shared_expert_overlap;
    } else {
      layer.mlp = make_mlp(model, model.ffn_hidden_size, true);
    }
    spec.layers.push_back(layer);
  }
  spec.predictions.assign(static_cast<size_t>(options.attention.mtp_num_layers), spec.layers.back());
  spec.prediction_loss_factor = options.attention.mtp_loss_scaling_factor;
  return spec;
}

AttentionCount count_attention(const AttentionSpec& attention, int64_t hidden, NormFamily norm) {
  const int64_t per_norm = norm == NormFamily::kLayerNorm ? 2 : 1, heads = attention.heads;
  AttentionCount count;
  count.matrices = hidden * heads * attention.value_dim();
  count.vectors = (attention.projection_bias ? hidden : 0) + (attention.softmax == "learnable" ? heads : 0);
  if (!attention.latent) {
    const int64_t qkv = (heads + 2 * attention.groups) * attention.head_dim;
    count.matrices += qkv * hidden;
    count.vectors += attention.qkv_bias ? qkv : 0;
    count.vectors += attention.qk_norm ? 2 * per_norm * attention.head_dim : 0;
    return count;
  }
  const LatentSpec& latent = *attention.latent;
  const int64_t down = latent.kv_rank + latent.rotated, queries = heads * attention.head_dim;
  count.matrices += latent.q_rank > 0 ? latent.q_rank * (hidden + queries) : hidden * queries;
  count.matrices += down * hidden + latent.kv_rank * heads * (latent.plain + latent.value);
  count.vectors += latent.down_bias ? latent.q_rank + down : 0;
  count.vectors += latent.norms ? per_norm * (latent.q_rank + latent.kv_rank) : 0;
  return count;
}

namespace {

ParameterCount count_layer(const ModelSpec& spec, const LayerSpec& layer) {
  const int64_t hidden = spec.hidden;
  const AttentionCount attention = count_attention(layer.attention, hidden, spec.norm.family);
  const int64_t common = attention.matrices + attention.vectors + 2 * norm_parameters(spec.norm, hidden);
  if (layer.ffn == FfnKind::kDense) {
    const int64_t all = common + mlp_parameters(layer.mlp, hidden);
    return {all, all};
  }
  const RouterSpec& router = layer.moe.router;
  int64_t always = common + router.experts * hidden + (router.linear_bias ? router.experts : 0);
  if (layer.moe.shared_width > 0) {
    MlpSpec shared = layer.moe.expert;
    shared.width = layer.moe.shared_width;
    shared.bias = false;
    always += mlp_parameters(shared, hidden) + (layer.moe.shared_gate ? hidden : 0);
  }
  const int64_t expert = mlp_parameters(layer.moe.expert, hidden);
  return {always + expert * router.experts, always + expert * router.topk};
}

}  // namespace

ParameterCount count_parameters(const ModelSpec& spec) {
  const int64_t hidden = spec.hidden;
  int64_t around = spec.vocab * hidden * (spec.tied_embeddings ? 1 : 2) + norm_parameters(spec.norm, hidden);
  if (spec.positions == PositionKind::kLearned) around += spec.max_positions * hidden;
  around +=
      static_cast<int64_t>(spec.predictions.size()) * (2 * hidden * hidden + 3 * norm_parameters(spec.norm, hidden));
  ParameterCount count{around, around};
  for (const auto* layers : {&spec.layers, &spec.predictions}) {
    for (const LayerSpec& layer : *layers) {
      const ParameterCount one = count_layer(spec, layer);
      count.total += one.total;
      count.active += one.active;
    }
  }
  return count;
}

}  // namespace conclave

#include "spec/model_spec.h"

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "config/resolve.h"

namespace conclave {
namespace {

// Llama-3.1's frequency scaling: low frequencies divided by the factor, high ones kept, a ramp between (original length
// 8192).
double llama3_scaled(double frequency, double factor) {
  constexpr double kLowFactor = 1, kHighFactor = 4, kOriginalLength = 8192;
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < kOriginalLength / kHighFactor) return frequency;
  if (wavelength > kOriginalLength / kLowFactor) return frequency / factor;
  const double smooth = (kOriginalLength / wavelength - kLowFactor) / (kHighFactor - kLowFactor);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

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
  mlp.bias = model.add_bias_linear;
  // The clamp is for experts only.
  if (!dense && model.activation_func_clamp_value) mlp.clamp = *model.activation_func_clamp_value;
  mlp.linear_offset = model.glu_linear_offset;
  return mlp;
}

AttentionSpec make_attention(const ModelOptions& model, bool windowed) {
  AttentionSpec attention;
  attention.heads = model.num_attention_heads;
  attention.groups = model.num_query_groups;
  attention.head_dim = model.kv_channels;
  if (windowed && model.window_size[0] >= 0) attention.window = model.window_size[0] + 1;  // {left, right} counts the tokens beside the own one
  attention.qkv_bias = model.add_bias_linear || model.add_qkv_bias;
  attention.projection_bias = model.add_bias_linear;
  attention.qk_norm = model.qk_layernorm;
  attention.dropout = model.attention_dropout;
  if (model.position_embedding_type == "rope") {
    RopeSpec rope;
    rope.base = model.rotary_base;
    rope.rotated = static_cast<int64_t>(static_cast<double>(model.kv_channels) * model.rotary_percent);
    rope.interleaved = model.rotary_interleaved;
    if (model.rotary_seq_len_interpolation_factor > 0)
      rope.interpolation = static_cast<double>(model.rotary_seq_len_interpolation_factor);
    rope.llama3_scaling = model.use_rope_scaling;
    rope.llama3_factor = model.rope_scaling_factor;
    attention.rope = rope;
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
  }
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

std::vector<float> RopeSpec::frequencies() const {
  std::vector<float> out;
  for (int64_t i = 0; i < rotated / 2; ++i) {
    double frequency = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotated));
    if (llama3_scaling) frequency = llama3_scaled(frequency, llama3_factor);
    out.push_back(static_cast<float>(frequency / interpolation));
  }
  return out;
}

double AttentionSpec::softmax_scale() const { return 1.0 / std::sqrt(static_cast<double>(head_dim)); }

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
  spec.positions = model.position_embedding_type == "rope"               ? PositionKind::kRope
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
    layer.attention = make_attention(model, windowed[static_cast<size_t>(i)]);
    if (pattern[static_cast<size_t>(i)]) {
      layer.ffn = FfnKind::kMoe;
      layer.moe.router = make_router(options);
      layer.moe.expert = make_mlp(model, options.moe.moe_ffn_hidden_size, false);
      layer.moe.shared_width = options.moe.moe_shared_expert_intermediate_size;
      layer.moe.shared_gate = options.moe.moe_shared_expert_gate;
      layer.moe.probs_on_input = options.moe.moe_apply_probs_on_input;
    } else {
      layer.mlp = make_mlp(model, model.ffn_hidden_size, true);
    }
    spec.layers.push_back(layer);
  }
  return spec;
}

ParameterCount count_parameters(const ModelSpec& spec) {
  ParameterCount count;
  const int64_t hidden = spec.hidden;
  const auto add = [&](int64_t total, int64_t active) {
    count.total += total;
    count.active += active;
  };
  const auto add_all = [&](int64_t total) { add(total, total); };
  add_all(spec.vocab * hidden * (spec.tied_embeddings ? 1 : 2));
  if (spec.positions == PositionKind::kLearned) add_all(spec.max_positions * hidden);
  for (const LayerSpec& layer : spec.layers) {
    const AttentionSpec& attention = layer.attention;
    const int64_t qkv = (attention.heads + 2 * attention.groups) * attention.head_dim;
    add_all(qkv * hidden + (attention.qkv_bias ? qkv : 0));
    add_all(hidden * attention.heads * attention.head_dim + (attention.projection_bias ? hidden : 0));
    if (attention.qk_norm) add_all(2 * norm_parameters(spec.norm, attention.head_dim));
    add_all(2 * norm_parameters(spec.norm, hidden));
    if (layer.ffn == FfnKind::kDense) {
      add_all(mlp_parameters(layer.mlp, hidden));
      continue;
    }
    const RouterSpec& router = layer.moe.router;
    add_all(router.experts * hidden + (router.linear_bias ? router.experts : 0));
    const int64_t expert = mlp_parameters(layer.moe.expert, hidden);
    add(expert * router.experts, expert * router.topk);
    if (layer.moe.shared_width > 0) {
      MlpSpec shared = layer.moe.expert;
      shared.width = layer.moe.shared_width;
      shared.bias = false;
      add_all(mlp_parameters(shared, hidden) + (layer.moe.shared_gate ? hidden : 0));
    }
  }
  add_all(norm_parameters(spec.norm, hidden));
  return count;
}

}  // namespace conclave

#include "models/layer_config.h"

#include <cmath>

#include "base/error.h"

namespace conclave {
namespace {

kernels::ActivationKind activation_from_word(const std::string& word) {
  using kernels::ActivationKind;
  for (const ActivationKind kind :
       {ActivationKind::kGelu, ActivationKind::kGeluTanh, ActivationKind::kQuickGelu, ActivationKind::kSilu,
        ActivationKind::kRelu, ActivationKind::kSquaredRelu, ActivationKind::kSwiGlu, ActivationKind::kGeGlu,
        ActivationKind::kGeGluTanh, ActivationKind::kQuickGeGlu}) {
    if (kernels::activation_name(kind) == word) return kind;
  }
  CONCLAVE_CHECK(false, "no activation is called '{}'", word);
  return ActivationKind::kGelu;
}

AttentionSink sink_from_word(const std::string& word) {
  if (word == "off-by-one") return AttentionSink::kZero;
  if (word == "learnable") return AttentionSink::kLearned;
  CONCLAVE_CHECK(word == "vanilla", "no attention softmax is called '{}'", word);
  return AttentionSink::kNone;
}

RopeConfig rope_config(const RopeSpec& rope) {
  return {rope.frequencies(), rope.interleaved, static_cast<float>(rope.attention_factor)};
}

AttentionConfig attention_config(const ModelSpec& spec, const AttentionSpec& attention, const std::string& layer,
                                 int64_t index, const ModelPart& part) {
  AttentionConfig config;
  config.name = layer + ".self_attention";
  config.layer = index;
  config.hidden = spec.hidden;
  config.heads = attention.heads;
  config.groups = attention.groups;
  config.head_dim = attention.head_dim;
  config.window = attention.window;
  config.qkv_bias = attention.qkv_bias;
  config.projection_bias = attention.projection_bias;
  config.tensor = part.tensor;
  config.context_exchange = part.exchange_of(index);
  if (attention.qk_norm) {
    config.qk_norm = norm_config(spec.norm, part);
    config.qk_norm->partial = !part.tensor.is_whole();  // each rank norms its own heads
  }
  config.qk_norm_decay = spec.norm_weight_decay_qk;
  config.softmax_scale = attention.softmax_scale();
  config.dropout = attention.dropout;
  config.sink = sink_from_word(attention.softmax);
  config.sink_init = Initializer::normal(spec.init_std);
  if (attention.rope) config.rope = rope_config(*attention.rope);
  const int64_t width = attention.heads * attention.head_dim;
  config.init = matrix_initializer(spec, spec.hidden, width, spec.init_std);
  config.output_init = matrix_initializer(spec, width, spec.hidden, spec.output_init_std());
  return config;
}

LatentAttentionConfig latent_config(const ModelSpec& spec, const AttentionSpec& attention, const std::string& layer,
                                    int64_t index, const ModelPart& part) {
  const LatentSpec& latent = *attention.latent;
  LatentAttentionConfig config;
  config.name = layer + ".self_attention";
  config.layer = index;
  config.hidden = spec.hidden;
  config.heads = attention.heads;
  config.q_rank = latent.q_rank;
  config.kv_rank = latent.kv_rank;
  config.tensor = part.tensor;
  config.context_exchange = part.exchange_of(index);
  config.sequence_parallel = part.sequence_parallel;
  config.plain = latent.plain;
  config.rotated = latent.rotated;
  config.value = latent.value;
  config.window = attention.window;
  config.down_bias = latent.down_bias;
  config.projection_bias = attention.projection_bias;
  if (latent.norms) {
    config.latent_norm = norm_config(spec.norm, part);
    config.latent_norm->epsilon = latent.epsilon;
  }
  config.norm_decay = spec.norm_weight_decay_qk;
  config.softmax_scale = attention.softmax_scale();
  config.dropout = attention.dropout;
  config.sink = sink_from_word(attention.softmax);
  config.sink_init = Initializer::normal(spec.init_std);
  config.rope = rope_config(*attention.rope);
  const int64_t width = attention.heads * latent.value;
  config.init = matrix_initializer(spec, spec.hidden, width, spec.init_std);
  config.output_init = matrix_initializer(spec, width, spec.hidden, spec.output_init_std());
  return config;
}

MlpConfig mlp_config(const ModelSpec& spec, const MlpSpec& mlp, std::string name, const ModelPart& part) {
  MlpConfig config;
  config.name = std::move(name);
  config.tensor = part.tensor;
  config.sequence_parallel = part.sequence_parallel;
  config.hidden = spec.hidden;
  config.width = mlp.width;
  config.activation = activation_from_word(mlp.activation);
  config.bias = mlp.bias;
  config.clamp = static_cast<float>(mlp.clamp);
  config.linear_offset = static_cast<float>(mlp.linear_offset);
  config.init = matrix_initializer(spec, spec.hidden, mlp.width, spec.init_std);
  config.output_init = matrix_initializer(spec, mlp.width, spec.hidden, spec.output_init_std());
  return config;
}

kernels::RouterRule router_rule(const RouterSpec& router) {
  kernels::RouterRule rule;
  rule.score = router.score_function == "sigmoid"        ? kernels::ScoreFunction::kSigmoid
               : router.score_function == "sqrtsoftplus" ? kernels::ScoreFunction::kSqrtSoftplus
                                                         : kernels::ScoreFunction::kSoftmax;
  rule.topk = router.topk;
  rule.pre_softmax = router.pre_softmax;
  rule.scaling_factor = router.scaling_factor;
  rule.groups = router.groups;
  rule.group_topk = router.group_topk;
  rule.group_score = router.group_score == "max"        ? kernels::GroupScore::kMaximum
                     : router.group_score == "top2_sum" ? kernels::GroupScore::kTopTwo
                                                        : kernels::GroupScore::kTopSum;
  rule.normalisation = router.norm_topk_prob == "always"  ? kernels::Normalisation::kAlways
                       : router.norm_topk_prob == "never" ? kernels::Normalisation::kNever
                                                          : kernels::Normalisation::kByCount;
  return rule;
}

RouterConfig router_config(const ModelSpec& spec, const RouterSpec& router, const std::string& layer) {
  RouterConfig config;
  config.name = layer + ".mlp.router";
  config.experts = router.experts;
  config.hidden = spec.hidden;
  config.rule = router_rule(router);
  config.sinkhorn = router.sinkhorn;
  config.linear_bias = router.linear_bias;
  config.expert_bias = router.expert_bias;
  config.bias_update_rate = router.bias_update_rate;
  if (!router.dtype.empty()) config.dtype = router.dtype == "fp64" ? DType::kF64 : DType::kF32;
  config.jitter = router.jitter;
  config.forced = {router.force_balance || router.force_biased.has_value(), router.force_biased.value_or(0)};
  for (const BalanceSpec& loss : router.balance) {
    const kernels::BalanceKind kind = loss.kind == "seq_aux_loss"      ? kernels::BalanceKind::kSequence
                                      : loss.kind == "global_aux_loss" ? kernels::BalanceKind::kGlobal
                                                                       : kernels::BalanceKind::kMicroBatch;
    config.balance.push_back({kind, loss.coefficient});
  }
  config.z_loss = router.z_loss;
  config.capacity_factor = router.capacity_factor;
  config.pad_to_capacity = router.pad_to_capacity;
  config.drop_policy = router.drop_policy == "position" ? kernels::DropPolicy::kPosition : kernels::DropPolicy::kProbs;
  config.init = matrix_initializer(spec, spec.hidden, router.experts, spec.init_std);
  return config;
}

DispatcherKind dispatcher_kind(const std::string& word) {
  if (word == "alltoall") return DispatcherKind::kAllToAll;
  if (word == "deepep") return DispatcherKind::kDeepEp;
  if (word == "hybridep") return DispatcherKind::kHybridEp;
  // On one rank all are the same, also those that are not there for several.
  return DispatcherKind::kAllGather;
}

/// `layer`: "decoder.layers.0".
MoeLayerConfig moe_config(const ModelSpec& spec, const MoeSpec& moe, const std::string& layer, const ModelPart& part) {
  const std::string name = layer + ".mlp";
  const MlpConfig expert = mlp_config(spec, moe.expert, name + ".experts", part);
  MoeLayerConfig config;
  config.experts = {.name = expert.name,
                    .experts = moe.router.experts,
                    .hidden = expert.hidden,
                    .width = expert.width,
                    .expert = part.expert,
                    .expert_tensor = part.expert_tensor,
                    .activation = expert.activation,
                    .bias = expert.bias,
                    .clamp = expert.clamp,
                    .linear_offset = expert.linear_offset,
                    .init = expert.init,
                    .output_init = expert.output_init};
  if (moe.shared_width > 0) {
    MlpSpec shared = moe.expert;
    shared.width = moe.shared_width;
    shared.bias = false;
    config.shared = std::make_unique<MlpConfig>(mlp_config(spec, shared, name + ".shared_experts", part));
    config.shared_gate = moe.shared_gate;
  }
  config.router = router_config(spec, moe.router, layer);
  config.router.tensor = part.tensor;
  config.router.sequence_parallel = part.sequence_parallel;
  config.dispatch = {.kind = dispatcher_kind(moe.dispatcher), .overlap_shared = moe.shared_overlap};
  return config;
}

}  // namespace

NormConfig norm_config(const NormSpec& spec, const ModelPart& part) {
  return {spec.family == NormFamily::kLayerNorm ? kernels::NormKind::kLayer : kernels::NormKind::kRms, spec.epsilon,
          spec.one_plus, part.tensor, part.sequence_parallel};
}

Initializer matrix_initializer(const ModelSpec& spec, int64_t in, int64_t out, double std) {
  return spec.xavier_uniform ? Initializer::uniform(std::sqrt(6.0 / static_cast<double>(in + out)))
                             : Initializer::normal(std);
}

TransformerLayerConfig make_layer_config(const ModelSpec& spec, const LayerPlace& place, const ModelPart& part) {
  const LayerSpec& layer = place.prediction ? spec.predictions.at(static_cast<size_t>(place.index))
                                            : spec.layers.at(static_cast<size_t>(place.index));
  TransformerLayerConfig config;
  config.name = place.prediction ? fmt::format("mtp.layers.{}.mtp_model_layer", place.index)
                                 : fmt::format("decoder.layers.{}", place.index);
  config.index = place.index + (place.prediction ? static_cast<int64_t>(spec.layers.size()) : 0);
  config.norm = norm_config(spec.norm, part);
  config.hidden = spec.hidden;
  config.hidden_dropout = spec.hidden_dropout;
  if (layer.attention.latent) {
    config.latent_attention =
        std::make_unique<LatentAttentionConfig>(latent_config(spec, layer.attention, config.name, config.index, part));
  } else {
    config.attention =
        std::make_unique<AttentionConfig>(attention_config(spec, layer.attention, config.name, config.index, part));
  }
  const std::string name = config.name + ".mlp";
  if (layer.ffn == FfnKind::kDense) {
    config.mlp = std::make_unique<MlpConfig>(mlp_config(spec, layer.mlp, name, part));
    return config;
  }
  config.moe = std::make_unique<MoeLayerConfig>(moe_config(spec, layer.moe, config.name, part));
  return config;
}

}  // namespace conclave

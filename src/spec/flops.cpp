#include "spec/flops.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "config/list_expression.h"
#include "config/resolve.h"

namespace conclave {
namespace {

// Multiply-adds of one token.
struct PerToken {
  double linear = 0;  ///< projections of one attention layer
  double core = 0;    ///< per key seen, both products
};

PerToken standard_attention(const ModelOptions& model) {
  const auto hidden = static_cast<double>(model.hidden_size);
  const auto queries = static_cast<double>(model.num_attention_heads * model.kv_channels);
  const auto keys = static_cast<double>(model.num_query_groups * model.kv_channels);
  const double gate = model.attention_output_gate ? queries : 0;
  return {hidden * (queries + 2 * keys + gate) + queries * hidden, queries};
}

PerToken latent_attention(const ModelOptions& model, const AttentionVariantOptions& latent) {
  const auto hidden = static_cast<double>(model.hidden_size), heads = static_cast<double>(model.num_attention_heads);
  const auto plain = static_cast<double>(latent.qk_head_dim), rotated = static_cast<double>(latent.qk_pos_emb_head_dim);
  const auto value = static_cast<double>(latent.v_head_dim);
  const auto q_rank = static_cast<double>(latent.q_lora_rank), kv_rank = static_cast<double>(latent.kv_lora_rank);
  const double query =
      q_rank == 0 ? hidden * heads * (plain + rotated) : q_rank * (hidden + heads * (plain + rotated) + 1);
  const double linear =
      query + kv_rank * (hidden + heads * (plain + value) + 1) + hidden * rotated + heads * value * hidden;
  return {linear, heads * ((plain + rotated) / 2 + value / 2)};
}

double linear_attention(const ModelOptions& model, const AttentionVariantOptions& variant) {
  const auto hidden = static_cast<double>(model.hidden_size);
  const auto keys = static_cast<double>(variant.linear_key_head_dim * variant.linear_num_key_heads);
  const auto heads = static_cast<double>(variant.linear_num_value_heads);
  const auto head = static_cast<double>(variant.linear_value_head_dim);
  const double values = heads * head;
  return hidden * (2 * keys + 2 * values + 2 * heads) +
         static_cast<double>(variant.linear_conv_kernel_dim) * (2 * keys + values) + 4 * heads * head * head +
         hidden * values;
}

int64_t count_linear_layers(const Options& options) {
  const AttentionVariantOptions& variant = options.attention;
  const std::string kind = variant.experimental_attention_variant.value_or("");
  if (kind != "gdn" && kind != "gated_delta_net") return 0;
  const std::string frequency = variant.linear_attention_freq.value_or("1");
  const int64_t layers = options.model.num_layers;
  if (const auto step = parse_int(trim(frequency))) {
    CONCLAVE_USER_CHECK(*step >= 1, "--linear-attention-freq must be at least 1; got {}; raise it", *step);
    return layers - layers / *step;
  }
  const std::vector<bool> linear = every_nth_layer(frequency, layers, "--linear-attention-freq");
  return std::count(linear.begin(), linear.end(), true);
}

double feed_forward(const Options& options) {
  const MoeOptions& moe = options.moe;
  const std::vector<bool> experts = moe_layers(options);
  const int64_t depths = options.attention.mtp_num_layers;
  const bool last = !experts.empty() && experts.back();
  const auto sparse = static_cast<double>(std::count(experts.begin(), experts.end(), true) + (last ? depths : 0));
  const double dense = static_cast<double>(options.model.num_layers + depths) - sparse;
  const double matrices = has_gated_activation(options.model) ? 3 : 2;
  const auto hidden = static_cast<double>(options.model.hidden_size);
  double routed = static_cast<double>(moe.moe_ffn_hidden_size * moe.moe_router_topk) * matrices;
  if (moe.moe_latent_size > 0) {
    const auto latent = static_cast<double>(moe.moe_latent_size);
    routed = routed * latent / hidden + 2 * latent;
  }
  return hidden * (static_cast<double>(options.model.ffn_hidden_size) * matrices * dense + routed * sparse +
                   static_cast<double>(moe.moe_shared_expert_intermediate_size) * matrices * sparse);
}

double mlp_products(double hidden, double width, bool gated) { return hidden * width * (gated ? 3 : 2); }

double layer_products(const LayerSpec& layer, double hidden) {
  const auto projections = static_cast<double>(
      count_attention(layer.attention, static_cast<int64_t>(hidden), NormFamily::kRmsNorm).matrices);
  if (layer.ffn == FfnKind::kDense) {
    return projections + mlp_products(hidden, static_cast<double>(layer.mlp.width), layer.mlp.gated);
  }
  const MoeSpec& moe = layer.moe;
  return projections + hidden * static_cast<double>(moe.router.experts) +
         static_cast<double>(moe.router.topk) *
             mlp_products(hidden, static_cast<double>(moe.expert.width), moe.expert.gated) +
         mlp_products(hidden, static_cast<double>(moe.shared_width), moe.expert.gated) + (moe.shared_gate ? hidden : 0);
}

}  // namespace

double customary_step_flops(const Options& options, int64_t padded_vocab, const StepTokens& step) {
  const ModelOptions& model = options.model;
  const auto length = static_cast<double>(model.seq_length), sequences = static_cast<double>(step.sequences);
  const double tokens = step.tokens ? static_cast<double>(*step.tokens) : sequences * length;
  const double squares = step.length_squares ? static_cast<double>(*step.length_squares) : sequences * length * length;
  const PerToken attention =
      options.attention.multi_latent_attention ? latent_attention(model, options.attention) : standard_attention(model);
  const int64_t linear = count_linear_layers(options), depths = options.attention.mtp_num_layers;
  const auto full = static_cast<double>(model.num_layers + depths - linear);
  const auto hidden = static_cast<double>(model.hidden_size);
  const double predictions = static_cast<double>(depths) * (3 * hidden + 2 * hidden * hidden);
  const double logits = hidden * static_cast<double>(padded_vocab) * static_cast<double>(depths + 1);
  const double per_token = feed_forward(options) + attention.linear * full +
                           linear_attention(model, options.attention) * static_cast<double>(linear) + predictions +
                           logits;
  return 6 * tokens * per_token + 6 * squares * attention.core * full;
}

double causal_pairs(int64_t length, int64_t window) {
  const auto seen = static_cast<double>(window > 0 ? std::min(window, length) : length);
  return seen * (seen + 1) / 2 + (static_cast<double>(length) - seen) * seen;
}

double exact_step_flops(const ModelSpec& spec, std::span<const int64_t> document_lengths) {
  const auto hidden = static_cast<double>(spec.hidden);
  double tokens = 0, products = hidden * static_cast<double>(spec.vocab), attention = 0;
  for (const int64_t length : document_lengths) tokens += static_cast<double>(length);
  products *= static_cast<double>(spec.predictions.size() + 1);
  products += static_cast<double>(spec.predictions.size()) * 2 * hidden * hidden;
  for (const auto* layers : {&spec.layers, &spec.predictions}) {
    for (const LayerSpec& layer : *layers) {
      products += layer_products(layer, hidden);
      double pairs = 0;
      for (const int64_t length : document_lengths) pairs += causal_pairs(length, layer.attention.window);
      const AttentionSpec& heads = layer.attention;
      attention += pairs * static_cast<double>(heads.heads * (heads.head_dim + heads.value_dim()));
    }
  }
  return 6 * (tokens * products + attention);
}

}  // namespace conclave

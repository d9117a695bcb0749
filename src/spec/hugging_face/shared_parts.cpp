#include "spec/hugging_face/shared_parts.h"

#include "config/resolve.h"

namespace conclave {

void read_sizes(ConfigReader& config, Json& options, AttentionForm form) {
  const int64_t hidden = config.integer("hidden_size"), heads = config.integer("num_attention_heads");
  options["num-layers"] = config.integer("num_hidden_layers");
  options["hidden-size"] = hidden;
  options["ffn-hidden-size"] = config.integer("intermediate_size");
  options["num-attention-heads"] = heads;
  options["vocab-size"] = config.integer("vocab_size");
  options["max-position-embeddings"] = config.integer("max_position_embeddings");
  options["normalization"] = "RMSNorm";
  options["norm-epsilon"] = config.number("rms_norm_eps", 1e-6);
  options["swiglu"] = true;
  options["add-bias-linear"] = false;
  options["position-embedding-type"] = "rope";
  options["untie-embeddings-and-output-weights"] = !config.flag("tie_word_embeddings", false);
  options["attention-dropout"] = config.number("attention_dropout", 0);
  options["hidden-dropout"] = 0.0;
  options["init-method-std"] = config.number("initializer_range", 0.02);
  const std::string activation = config.text("hidden_act", "silu");
  if (activation != "silu") config.refuse("\"hidden_act\" must be \"silu\"; got \"{}\"", activation);
  const int64_t groups = config.integer("num_key_value_heads", heads);
  if (form == AttentionForm::kLatent) {
    if (groups != heads)
      config.refuse("\"num_key_value_heads\" must be \"num_attention_heads\" with latent attention; got {} and {}",
                    groups, heads);
    return;
  }
  if (groups == 0 || heads % groups != 0)
    config.refuse("\"num_key_value_heads\" must divide \"num_attention_heads\"; got {} and {}", groups, heads);
  const int64_t size = config.integer("head_dim", 0);
  if (size == 0 && hidden % heads != 0)
    config.refuse(
        "\"hidden_size\" must be divisible by \"num_attention_heads\" where \"head_dim\" is absent; got {} "
        "and {}",
        hidden, heads);
  options["group-query-attention"] = true;
  options["num-query-groups"] = groups;
  options["kv-channels"] = size > 0 ? size : hidden / heads;
}

void write_sizes(const Options& options, Json& config, AttentionForm form) {
  const ModelOptions& model = options.model;
  config["attention_dropout"] = model.attention_dropout;
  config["hidden_act"] = "silu";
  config["hidden_size"] = model.hidden_size;
  config["initializer_range"] = model.init_method_std;
  config["intermediate_size"] = model.ffn_hidden_size;
  config["max_position_embeddings"] = model.max_position_embeddings;
  config["num_attention_heads"] = model.num_attention_heads;
  config["num_hidden_layers"] = model.num_layers;
  config["num_key_value_heads"] = form == AttentionForm::kLatent ? model.num_attention_heads : model.num_query_groups;
  if (form == AttentionForm::kGrouped && model.kv_channels * model.num_attention_heads != model.hidden_size)
    config["head_dim"] = model.kv_channels;
  config["rms_norm_eps"] = model.norm_epsilon;
  config["tie_word_embeddings"] = !model.untie_embeddings_and_output_weights;
  config["vocab_size"] = model.vocab_size;
}

void set_windows(Json& options, int64_t window, const std::vector<bool>& windowed) {
  bool any = false, all = true;
  Json list = Json::array();
  for (const bool layer : windowed) {
    any = any || layer;
    all = all && layer;
    list.push_back(layer ? 1 : 0);
  }
  if (window == 0 || !any) return;
  Json size = Json::array();
  size.push_back(window - 1);
  size.push_back(0);
  options["window-size"] = std::move(size);
  if (!all) options["window-attn-skip-freq"] = list.dump();
}

namespace {

// [window, layer_types] of the configuration; window 0: none.
std::vector<bool> windowed_by_types(ConfigReader& config, int64_t layers, const Json& types) {
  std::vector<bool> windowed;
  if (!types.is_array() || static_cast<int64_t>(types.size()) != layers) {
    config.refuse("\"layer_types\" must list {} layers", layers);
    return std::vector<bool>(static_cast<size_t>(layers));
  }
  for (const Json& type : types.as_array()) {
    const std::string word = type.is_string() ? type.as_string() : type.dump();
    windowed.push_back(word == "sliding_attention");
    if (word != "sliding_attention" && word != "full_attention")
      config.refuse("\"layer_types\" may hold full_attention and sliding_attention; got {}", word);
  }
  return windowed;
}

// Window of the whole model, 0 if there is none.
int64_t own_window(const Options& options) {
  const ModelOptions& model = options.model;
  return model.window_size.empty() || model.window_size[0] < 0 ? 0 : model.window_size[0] + 1;
}

}  // namespace

void read_layer_windows(ConfigReader& config, Json& options,
                        const std::function<bool(int64_t layer, int64_t max_window_layers)>& by_rule) {
  const int64_t layers = config.integer("num_hidden_layers");
  const bool used = config.flag("use_sliding_window", false);
  const int64_t window = config.integer("sliding_window", used ? 4096 : 0);
  const int64_t most = config.integer("max_window_layers", 28);
  const Json* types = config.find("layer_types");
  std::vector<bool> windowed;
  if (types != nullptr) {
    windowed = windowed_by_types(config, layers, *types);
  } else {
    for (int64_t i = 0; i < std::min<int64_t>(layers, 1 << 20); ++i)
      windowed.push_back(used && window > 0 && by_rule(i, most));
  }
  set_windows(options, used ? window : 0, windowed);
}

void write_layer_windows(const Options& options, Json& config) {
  const int64_t window = own_window(options);
  config["use_sliding_window"] = window > 0;
  config["sliding_window"] = window > 0 ? Json(window) : Json();
  config["max_window_layers"] = options.model.num_layers;
  Json types = Json::array();
  for (const bool windowed : windowed_layers(options))
    types.push_back(windowed && window > 0 ? "sliding_attention" : "full_attention");
  config["layer_types"] = std::move(types);
}

void read_plain_window(ConfigReader& config, Json& options, int64_t otherwise) {
  const int64_t layers = config.integer("num_hidden_layers");
  const bool absent = !config.contains("sliding_window");
  const int64_t window = config.integer("sliding_window", absent ? otherwise : 0);
  set_windows(options, window, std::vector<bool>(static_cast<size_t>(std::min<int64_t>(layers, 1 << 20)), true));
}

void write_plain_window(const Options& options, Json& config) {
  const int64_t window = own_window(options);
  config["sliding_window"] = window > 0 ? Json(window) : Json();
}

void set_moe_layers(Json& options, const std::vector<bool>& experts) {
  Json list = Json::array();
  bool all = true;
  for (const bool moe : experts) {
    list.push_back(moe ? 1 : 0);
    all = all && moe;
  }
  options["moe-layer-freq"] = all ? "1" : list.dump();
}

void read_sparse_steps(ConfigReader& config, Json& options) {
  const int64_t layers = std::min<int64_t>(config.integer("num_hidden_layers"), 1 << 20);
  const int64_t step = std::max<int64_t>(config.integer("decoder_sparse_step", 1), 1);
  std::vector<bool> experts;
  for (int64_t i = 0; i < layers; ++i) experts.push_back((i + 1) % step == 0);
  if (const Json* dense = config.find("mlp_only_layers")) {
    for (size_t i = 0; dense->is_array() && i < dense->size(); ++i) {
      const Json& layer = dense->at(i);
      if (!layer.is_int() || layer.as_int() < 0 || layer.as_int() >= layers) {
        config.refuse("\"mlp_only_layers\" names layers from 0 to {}; got {}", layers - 1, layer.dump());
        continue;
      }
      experts[static_cast<size_t>(layer.as_int())] = false;
    }
    if (!dense->is_array()) config.refuse("\"mlp_only_layers\" must be a list; got {}", dense->dump());
  }
  set_moe_layers(options, experts);
}

void write_sparse_steps(const Options& options, Json& config) {
  Json dense = Json::array();
  const std::vector<bool> experts = moe_layers(options);
  for (size_t i = 0; i < experts.size(); ++i) {
    if (!experts[i]) dense.push_back(static_cast<int64_t>(i));
  }
  config["decoder_sparse_step"] = 1;
  config["mlp_only_layers"] = std::move(dense);
}

void set_softmax_norm(Json& options, bool normalised, ConfigReader& config) {
  options["moe-router-score-function"] = "softmax";
  options["moe-router-pre-softmax"] = !normalised;
  if (!normalised) return;
  const Json* topk = options.find("moe-router-topk");
  if (topk == nullptr || topk->as_int() != 1) return;
  options["moe-router-norm-topk-prob"] = "always";
  config.warn("one expert per token whose weight is normalised is always 1: the router has no gradient");
}

bool softmax_norm(const Options& options) { return !options.moe.moe_router_pre_softmax; }

}  // namespace conclave

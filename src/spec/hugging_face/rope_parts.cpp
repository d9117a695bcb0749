// The rotation in a config.json, in both forms that there are.
#include <cmath>

#include "spec/hugging_face/shared_parts.h"
#include "spec/model_spec.h"

namespace conclave {
namespace {

/// The keys of a rotation, from wherever they stand.
class RopeKeys {
 public:
  RopeKeys(ConfigReader& config) : config_(config) {
    const Json* now = config.find("rope_parameters");
    const Json* before = config.find("rope_scaling");
    source_ = before != nullptr ? before : now;
    name_ = before != nullptr ? "rope_scaling" : "rope_parameters";
    if (source_ != nullptr && !source_->is_object()) {
      config.refuse("\"{}\" must be an object; got {}", name_, source_->dump());
      source_ = nullptr;
    }
    if (source_ == nullptr) return;
    known_ = {"rope_type", "type", "rope_theta", "partial_rotary_factor"};
  }

  const Json* find(const std::string& key) {
    known_.insert(key);
    const Json* value = source_ == nullptr ? nullptr : source_->find(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  double number(const std::string& key, double otherwise) {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number() || !(value->as_double() > 0)) {
      config_.refuse("\"{}\" in \"{}\" must be a number above 0; got {}", key, name_, value->dump());
      return otherwise;
    }
    return value->as_double();
  }
  double required(const std::string& key) {
    if (find(key) == nullptr) config_.refuse("\"{}\" is missing in \"{}\"", key, name_);
    return number(key, 1);
  }
  std::string type() {
    for (const char* key : {"rope_type", "type"}) {
      if (const Json* value = find(key)) return value->is_string() ? value->as_string() : value->dump();
    }
    return "default";
  }
  void finish() {
    if (source_ == nullptr) return;
    for (const auto& [key, value] : source_->as_object()) {
      if (!known_.contains(key) && !value.is_null())
        config_.refuse("\"{}\": {} in \"{}\" is not known; it may change what the model computes", key, value.dump(),
                       name_);
    }
  }
  const std::string& name() const { return name_; }

 private:
  ConfigReader& config_;
  const Json* source_ = nullptr;
  std::string name_;
  std::set<std::string> known_;
};

int64_t original_length(RopeKeys& keys, ConfigReader& config) {
  const auto otherwise = static_cast<double>(config.integer("max_position_embeddings"));
  return static_cast<int64_t>(keys.number("original_max_position_embeddings", otherwise));
}

void read_yarn(RopeKeys& keys, ConfigReader& config, Json& options, AttentionForm form) {
  const int64_t original = original_length(keys, config);
  const auto longest = static_cast<double>(config.integer("max_position_embeddings"));
  const double factor = keys.number("factor", longest / static_cast<double>(original));
  const double mscale = keys.find("mscale") != nullptr ? keys.find("mscale")->as_double() : 0;
  const double all = keys.find("mscale_all_dim") != nullptr ? keys.find("mscale_all_dim")->as_double() : 0;
  options[form == AttentionForm::kLatent ? "rope-type" : "position-embedding-type"] = "yarn";
  options["rotary-scaling-factor"] = factor;
  options["yarn-original-max-position-embeddings"] = original;
  options["yarn-beta-fast"] = keys.number("beta_fast", 32);
  options["yarn-beta-slow"] = keys.number("beta_slow", 1);
  const Json* whole = keys.find("truncate");
  options["yarn-correction-range-round-to-int"] = whole == nullptr || !whole->is_bool() || whole->as_bool();
  // Both must be there for their quotient to count.
  options["mscale"] = mscale != 0 && all != 0 ? mscale : 1.0;
  options["mscale-all-dim"] = all;
  const double derived =
      mscale != 0 && all != 0 ? yarn_mscale(factor, mscale) / yarn_mscale(factor, all) : yarn_mscale(factor, 1);
  options["rotary-attention-factor"] = keys.number("attention_factor", derived);
}

}  // namespace

void read_rope(ConfigReader& config, Json& options, double default_theta, AttentionForm form) {
  RopeKeys keys(config);
  double theta = config.number("rope_theta", default_theta);
  theta = keys.number("rope_theta", theta);
  if (!(theta > 0)) config.refuse("\"rope_theta\" must be above 0; got {}", theta);
  options["rotary-base"] = theta;
  const double share = keys.number("partial_rotary_factor", config.number("partial_rotary_factor", 1));
  if (form == AttentionForm::kGrouped) options["rotary-percent"] = share;
  if (form == AttentionForm::kLatent && share != 1)
    config.refuse("\"partial_rotary_factor\" must be 1 with latent attention; got {}", share);
  if (form == AttentionForm::kLatent) options["rope-type"] = "rope";
  const std::string type = keys.type();
  if (type == "yarn") {
    read_yarn(keys, config, options, form);
  } else if (type == "linear") {
    options["rotary-seq-len-interpolation-factor"] = keys.required("factor");
  } else if (type == "llama3") {
    options["use-rope-scaling"] = true;
    options["rope-scaling-factor"] = keys.required("factor");
    options["rope-scaling-low-freq-factor"] = keys.required("low_freq_factor");
    options["rope-scaling-high-freq-factor"] = keys.required("high_freq_factor");
    options["rope-scaling-original-length"] = original_length(keys, config);
  } else if (type != "default") {
    config.refuse("rotation \"{}\" in \"{}\" is not available; default, linear, yarn and llama3 are", type,
                  keys.name());
    return;
  }
  if (type != "yarn" && form == AttentionForm::kLatent && keys.find("mscale_all_dim") != nullptr) {
    options["rotary-scaling-factor"] = keys.number("factor", 1);
    options["mscale-all-dim"] = keys.find("mscale_all_dim")->as_double();
    options["rotary-attention-factor"] = 1.0;
  }
  keys.finish();
}

void write_rope(const Options& options, Json& config, AttentionForm form) {
  const ModelOptions& model = options.model;
  const AttentionVariantOptions& variant = options.attention;
  config["rope_theta"] = model.rotary_base;
  if (form == AttentionForm::kGrouped && model.rotary_percent != 1)
    config["partial_rotary_factor"] = model.rotary_percent;
  const bool yarn = form == AttentionForm::kLatent ? variant.rope_type.value_or("yarn") == "yarn"
                                                   : model.position_embedding_type == "yarn";
  Json scaling;
  if (yarn && (variant.rotary_scaling_factor != 1 || form == AttentionForm::kGrouped)) {
    scaling["rope_type"] = "yarn";
    scaling["factor"] = variant.rotary_scaling_factor;
    scaling["original_max_position_embeddings"] = variant.yarn_original_max_position_embeddings;
    scaling["beta_fast"] = variant.yarn_beta_fast;
    scaling["beta_slow"] = variant.yarn_beta_slow;
    if (!variant.yarn_correction_range_round_to_int) scaling["truncate"] = false;
    if (variant.mscale_all_dim != 0) {
      scaling["mscale"] = variant.mscale;
      scaling["mscale_all_dim"] = variant.mscale_all_dim;
    }
    const double factor = variant.rotary_scaling_factor;
    scaling["attention_factor"] = variant.rotary_attention_factor.value_or(yarn_mscale(factor, variant.mscale) /
                                                                           yarn_mscale(factor, variant.mscale_all_dim));
  } else if (model.use_rope_scaling) {
    scaling["rope_type"] = "llama3";
    scaling["factor"] = model.rope_scaling_factor;
    scaling["low_freq_factor"] = model.rope_scaling_low_freq_factor;
    scaling["high_freq_factor"] = model.rope_scaling_high_freq_factor;
    scaling["original_max_position_embeddings"] = model.rope_scaling_original_length;
  } else if (model.rotary_seq_len_interpolation_factor > 0) {
    scaling["rope_type"] = "linear";
    scaling["factor"] = model.rotary_seq_len_interpolation_factor;
  }
  config["rope_scaling"] = std::move(scaling);
}

}  // namespace conclave

#include "proof/golden/router_case.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "proof/golden/case_files.h"

namespace conclave::proof {
namespace {

constexpr std::array kKnownKeys = {"name",
                                   "what",
                                   "source",
                                   "order",
                                   "S",
                                   "B",
                                   "T",
                                   "num-experts",
                                   "hidden-size",
                                   "kind",
                                   "input",
                                   "training",
                                   "num-microbatches",
                                   "num-steps",
                                   "moe-router-topk",
                                   "moe-router-score-function",
                                   "moe-router-pre-softmax",
                                   "moe-router-num-groups",
                                   "moe-router-group-topk",
                                   "moe-router-topk-scaling-factor",
                                   "moe-router-load-balancing-type",
                                   "moe-aux-loss-coeff",
                                   "moe-z-loss-coeff",
                                   "moe-expert-capacity-factor",
                                   "moe-pad-expert-input-to-capacity",
                                   "moe-token-drop-policy",
                                   "moe-router-dtype",
                                   "moe-router-enable-expert-bias",
                                   "moe-router-bias-update-rate",
                                   "calculate-per-token-loss",
                                   "disable-bias-linear",
                                   "params-dtype",
                                   "aux-loss-grad-scale",
                                   "padding-mask",
                                   "score-math",
                                   "seed",
                                   "ties",
                                   "ties-first-differing-tensor",
                                   "result-is-lowest-index-first",
                                   "min-selection-gap",
                                   "capacity"};

bool is_idle(const Json& value) { return value.is_null() || (value.is_bool() && !value.as_bool()); }

void refuse_unknown_keys(const Json& json) {
  for (const auto& [key, value] : json.as_object())
    if (std::find(kKnownKeys.begin(), kKnownKeys.end(), key) == kKnownKeys.end() && !is_idle(value))
      throw NotBuilt(fmt::format("option '{}'", key));
}

[[noreturn]] void unknown_value(std::string_view key, const Json& value) {
  throw NotBuilt(fmt::format("{} {}", key, value.dump()));
}

double number_or(const Json& json, const char* key, double otherwise) {
  const Json& value = json.at(key);
  return value.is_null() ? otherwise : value.as_double();
}
int64_t integer_or(const Json& json, const char* key, int64_t otherwise) {
  const Json& value = json.at(key);
  return value.is_null() ? otherwise : value.as_int();
}

DType dtype_of(const Json& json, const char* key) {
  const std::string& name = json.at(key).as_string();
  if (name == "fp32") return DType::kF32;
  if (name == "fp64") return DType::kF64;
  if (name == "bf16") return DType::kBF16;
  unknown_value(key, json.at(key));
}

kernels::RouterRule rule_of(const Json& json) {
  kernels::RouterRule rule;
  const std::string& score = json.at("moe-router-score-function").as_string();
  if (score == "sigmoid") {
    rule.score = kernels::ScoreFunction::kSigmoid;
  } else if (score == "sqrtsoftplus") {
    rule.score = kernels::ScoreFunction::kSqrtSoftplus;
  } else if (score != "softmax") {
    unknown_value("moe-router-score-function", json.at("moe-router-score-function"));
  }
  rule.topk = json.at("moe-router-topk").as_int();
  rule.pre_softmax = json.at("moe-router-pre-softmax").as_bool();
  rule.scaling_factor = number_or(json, "moe-router-topk-scaling-factor", 0);
  rule.group_topk = integer_or(json, "moe-router-group-topk", 0);
  if (rule.group_topk > 0) rule.groups = json.at("moe-router-num-groups").as_int();
  const std::string& math = json.at("score-math").as_string();
  if (math != "fp32" && math != "fp64") unknown_value("score-math", json.at("score-math"));
  rule.f64_scores = math == "fp64";
  return rule;
}

void read_balance(const Json& json, RouterConfig& config) {
  const Json& types = json.at("moe-router-load-balancing-type");
  const Json& coefficients = json.at("moe-aux-loss-coeff");
  const Json::Array type_list = types.is_array() ? types.as_array() : Json::Array{types};
  const Json::Array coefficient_list = coefficients.is_array() ? coefficients.as_array() : Json::Array{coefficients};
  for (size_t i = 0; i < type_list.size(); ++i) {
    const std::string& type = type_list[i].as_string();
    if (type == "none") continue;
    if (type == "sinkhorn") {
      config.sinkhorn = true;
      continue;
    }
    BalanceConfig loss;
    loss.coefficient = coefficient_list.at(std::min(i, coefficient_list.size() - 1)).as_double();
    if (type == "seq_aux_loss") {
      loss.kind = kernels::BalanceKind::kSequence;
    } else if (type == "global_aux_loss") {
      loss.kind = kernels::BalanceKind::kGlobal;
    } else if (type != "aux_loss") {
      unknown_value("moe-router-load-balancing-type", types);
    }
    config.balance.push_back(loss);
  }
}

void read_capacity(const Json& json, RouterConfig& config) {
  const Json& factor = json.at("moe-expert-capacity-factor");
  if (factor.is_null() || factor.as_double() < 0) return;
  config.capacity_factor = factor.as_double();
  config.pad_to_capacity = json.at("moe-pad-expert-input-to-capacity").as_bool();
  const std::string& policy = json.at("moe-token-drop-policy").as_string();
  if (policy == "position") {
    config.drop_policy = kernels::DropPolicy::kPosition;
  } else if (policy != "probs") {
    unknown_value("moe-token-drop-policy", json.at("moe-token-drop-policy"));
  }
}

RouterConfig config_of(const Json& json) {
  RouterConfig config;
  config.name = "router";
  config.experts = json.at("num-experts").as_int();
  config.hidden = integer_or(json, "hidden-size", 1);
  config.rule = rule_of(json);
  config.linear_bias = !json.at("disable-bias-linear").as_bool();
  config.expert_bias = json.at("moe-router-enable-expert-bias").as_bool();
  config.bias_update_rate = json.at("moe-router-bias-update-rate").as_double();
  if (!json.at("moe-router-dtype").is_null()) config.dtype = dtype_of(json, "moe-router-dtype");
  config.z_loss = number_or(json, "moe-z-loss-coeff", 0);
  read_balance(json, config);
  read_capacity(json, config);
  return config;
}

}  // namespace

RouterCase router_case(const Json& json) {
  refuse_unknown_keys(json);
  RouterCase out;
  out.config = config_of(json);
  out.sequence_length = json.at("S").as_int();
  out.batch = json.at("B").as_int();
  out.micro_batches = json.at("num-microbatches").as_int();
  out.steps = json.at("num-steps").as_int();
  out.params_dtype = dtype_of(json, "params-dtype");
  const std::string& input = json.at("input").as_string();
  if (input != "hidden" && input != "logits") unknown_value("input", json.at("input"));
  out.from_hidden = input == "hidden";
  out.training = json.at("training").as_bool();
  out.per_token_loss = json.at("calculate-per-token-loss").as_bool();
  out.padding_mask = json.at("padding-mask").as_bool();
  out.gradient_scale = json.at("aux-loss-grad-scale").as_double();
  if (!json.at("capacity").is_null()) out.capacity = json.at("capacity").as_int();
  return out;
}

}  // namespace conclave::proof

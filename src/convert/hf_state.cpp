#include "convert/hf_state.h"

namespace conclave {

Json HuggingFaceOrigin::to_json() const {
  Json json = Json::object();
  json["model_type"] = model_type;
  json["config"] = config_text;
  json["fused_experts"] = form == ExpertForm::kFused;
  json["dtype"] = dtype_name(dtype);
  Json others = Json::object();
  for (const auto& [name, other] : other_dtypes) others[name] = dtype_name(other);
  json["dtypes"] = std::move(others);
  Json again = Json::array();
  for (const std::string& name : repeated) again.push_back(name);
  json["repeated"] = std::move(again);
  return json;
}

HuggingFaceOrigin HuggingFaceOrigin::from_json(const Json& json) {
  HuggingFaceOrigin origin;
  origin.model_type = json.at("model_type").as_string();
  origin.config_text = json.at("config").as_string();
  origin.form = json.at("fused_experts").as_bool() ? ExpertForm::kFused : ExpertForm::kSeparate;
  origin.dtype = dtype_from_name(json.at("dtype").as_string());
  for (const auto& [name, other] : json.at("dtypes").as_object())
    origin.other_dtypes[name] = dtype_from_name(other.as_string());
  for (const Json& name : json.at("repeated").as_array()) origin.repeated.push_back(name.as_string());
  return origin;
}

HuggingFaceOrigin origin_of(const HuggingFaceWeights& weights) {
  HuggingFaceOrigin origin;
  origin.model_type = weights.family().model_type;
  origin.config_text = weights.directory().config_text();
  origin.form = weights.form();
  std::map<std::string, DType> dtypes;
  std::map<DType, int64_t> counts;
  for (const TensorPlace& place : weights.places()) {
    const StoredWeight* weight = weights.directory().find(place.name);
    if (weight == nullptr) continue;
    if (place.repeated) origin.repeated.push_back(place.name);
    const DType dtype =
        weights.directory().is_scaled(*weight) ? weights.directory().dequantised_dtype() : weight->dtype;
    dtypes[place.name] = dtype;
    counts[dtype] += weight->element_count();
  }
  int64_t most = -1;
  for (const auto& [dtype, count] : counts) {
    if (count > most) origin.dtype = dtype;
    most = std::max(most, count);
  }
  for (const auto& [name, dtype] : dtypes) {
    if (dtype != origin.dtype) origin.other_dtypes[name] = dtype;
  }
  return origin;
}

std::optional<HuggingFaceOrigin> find_origin(const Json& state) {
  const Json* found = state.find(kOriginKey);
  if (found == nullptr || found->is_null()) return std::nullopt;
  return HuggingFaceOrigin::from_json(*found);
}

}  // namespace conclave

// A family of models as Hugging Face knows it: how its config.json reads in our options, and what its tensors are
// called. One small file in spec/families for each.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "config/options.h"
#include "spec/hugging_face/config_reader.h"

namespace conclave {

/// Names below "model.layers.N." that differ between families.
struct FamilyNames {
  std::string block = "mlp";       ///< of the experts, one tensor each
  std::string gate = "gate_proj";  ///< of an expert
  std::string up = "up_proj";
  std::string down = "down_proj";
  std::string shared = "shared_expert";  ///< below `block`
};

struct Family {
  std::string model_type;    ///< "mixtral"
  std::string architecture;  ///< "MixtralForCausalLM"
  FamilyNames names;
  /// Adds option -> value for everything that the configuration says about the model.
  void (*read)(ConfigReader& config, Json& options);
  /// Adds the keys of config.json that describe `options`; what the family cannot say is left out, which reading it
  /// back shows.
  void (*write)(const Options& options, Json& config);
};

extern const Family kLlama, kMistral, kMixtral, kQwen2, kQwen3, kQwen2Moe, kQwen3Moe, kDeepseekV2, kDeepseekV3;

const std::vector<const Family*>& families();
/// nullptr: not known.
const Family* find_family(std::string_view model_type);

}  // namespace conclave

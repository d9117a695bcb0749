// What DeepSeek-V2 and V3 have in common.
#pragma once

#include <string>

#include "spec/hugging_face/family.h"

namespace conclave {

/// Latent attention, experts, dense first layers, shared experts.
void read_deepseek(ConfigReader& config, Json& options);
void write_deepseek(const Options& options, Json& config);
/// n_group and topk_group; one group that is always chosen is no limit.
void read_deepseek_groups(ConfigReader& config, Json& options, const std::string& score);

}  // namespace conclave

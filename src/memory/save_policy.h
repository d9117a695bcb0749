// Which saved tensors are kept, made again or moved away, from --recompute-* and --offload-*.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/saved_tensor.h"

namespace conclave {

/// Recompute by module names: core_attn, layernorm, moe_act discard one output; mlp, moe, shared_experts rerun the
/// part.
struct SelectivePolicy {
  std::vector<std::string> recompute_modules;
};

std::unique_ptr<SavePolicy> make_save_policy(const SelectivePolicy& policy);

/// Full recompute: which consecutive layers keep only the input of their group.
/// uniform: every `group_layers` layers are one group. block: the first `block_layers` layers are groups of one, the
/// rest keep everything.
struct FullRecompute {
  enum class Method { kOff, kUniform, kBlock };
  Method method = Method::kOff;
  int64_t layers = 0;
};

struct LayerGroup {
  int64_t begin = 0;
  int64_t end = 0;
  bool recompute = false;
};

/// Cuts `count` layers into groups.
std::vector<LayerGroup> group_layers(const FullRecompute& full, int64_t count);

}  // namespace conclave

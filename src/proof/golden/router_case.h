// A golden case of the router: its options as the module's configuration.
#pragma once

#include <string>

#include "base/json.h"
#include "moe/router_config.h"

namespace conclave::proof {

/// What a `router` case asks for.
struct RouterCase {
  RouterConfig config;
  int64_t sequence_length = 0, batch = 0;  // S, B
  int64_t micro_batches = 1, steps = 1;
  DType params_dtype = DType::kF32;
  bool from_hidden = true;  ///< the input is hidden states, not logits
  bool training = true;
  bool per_token_loss = false;
  bool padding_mask = false;
  double gradient_scale = 1;  ///< g
  std::optional<int64_t> capacity;
  int64_t tokens() const { return sequence_length * batch; }
  DType router_dtype() const { return config.dtype.value_or(params_dtype); }
};

/// Throws NotBuilt for an option or a value that the product does not know.
RouterCase router_case(const Json& json);

}  // namespace conclave::proof

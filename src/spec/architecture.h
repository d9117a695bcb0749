// What a model computes, as lines that can be compared: two specs with the same lines give the same numbers from the
// same weights, whatever they are trained with.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "spec/model_spec.h"

namespace conclave {

/// {"layer 3 attention heads", "32"} and so on, in order.
std::vector<std::pair<std::string, std::string>> architecture_lines(const ModelSpec& spec);

/// "layer 0 window: 6 there, 0 here" for each line that differs, at most `most` of them; runs of layers with the same
/// difference are told once.
std::vector<std::string> architecture_difference(const ModelSpec& there, const ModelSpec& here, size_t most = 12);

}  // namespace conclave

// From the words of a ModelSpec to the configurations of modules.
#pragma once

#include "layout/model_part.h"
#include "models/transformer_layer.h"
#include "spec/model_spec.h"

namespace conclave {

/// Of a norm that every TP rank applies to its own positions (sequence parallelism) or to all of them.
NormConfig norm_config(const NormSpec& spec, const ModelPart& part);
/// Normal with `std`, or Xavier uniform where the spec asks for it.
Initializer matrix_initializer(const ModelSpec& spec, int64_t in, int64_t out, double std);
/// A decoder layer, or the layer of a prediction depth.
struct LayerPlace {
  int64_t index = 0;  ///< among its kind
  bool prediction = false;
};
TransformerLayerConfig make_layer_config(const ModelSpec& spec, const LayerPlace& place, const ModelPart& part);

}  // namespace conclave

// Which tensor of a Hugging Face directory is which part of ours. Both are row-major, so a part is a list of runs of
// elements.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spec/hugging_face/family.h"
#include "spec/model_spec.h"

namespace conclave {

/// Elements [theirs, theirs + count) of their tensor are [ours, ours + count) of ours.
struct PlaceRun {
  int64_t theirs = 0;
  int64_t ours = 0;
  int64_t count = 0;
};

struct TensorPlace {
  std::string name;            ///< theirs
  std::vector<int64_t> shape;  ///< theirs
  std::string ours;
  std::vector<PlaceRun> runs;  ///< in order of `theirs`, covering it
  /// The same values as another place of `ours`, stored again: checked on import, written again on export.
  bool repeated = false;
  bool may_be_absent = false;
};

/// How experts are stored: a tensor for each matrix of each expert, or gate_up_proj [E,2F,H] and down_proj [E,H,F].
enum class ExpertForm { kSeparate, kFused };

/// Ours, with global shapes.
struct OwnTensor {
  std::string name;
  std::vector<int64_t> shape;
};

/// All places of a model. A tensor of ours is covered by the runs of its places that are not repeated, each element
/// once.
std::vector<TensorPlace> tensor_places(const ModelSpec& spec, const FamilyNames& names, ExpertForm form);
/// The tensors of ours that the places fill, in their order.
std::vector<OwnTensor> own_tensors(const std::vector<TensorPlace>& places, const ModelSpec& spec);

}  // namespace conclave

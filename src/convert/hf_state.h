// What a checkpoint remembers of the Hugging Face model that it came from, so that it goes back bit for bit.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "convert/hf_import.h"

namespace conclave {

/// Beside the checkpoints of a run: tokenizer and other small files of the model.
inline constexpr const char* kHuggingFaceFolder = "hugging_face";

struct HuggingFaceOrigin {
  std::string model_type;
  std::string config_text;  ///< config.json, as it was
  ExpertForm form = ExpertForm::kSeparate;
  DType dtype = DType::kBF16;                 ///< of most weights
  std::map<std::string, DType> other_dtypes;  ///< by their names
  std::vector<std::string> repeated;          ///< tensors that only repeat another and were stored all the same

  Json to_json() const;
  static HuggingFaceOrigin from_json(const Json& json);
};

HuggingFaceOrigin origin_of(const HuggingFaceWeights& weights);

/// The key of a checkpoint's state.
inline constexpr const char* kOriginKey = "hugging_face";
std::optional<HuggingFaceOrigin> find_origin(const Json& state);

}  // namespace conclave

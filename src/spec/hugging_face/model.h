// From a config.json to our options and back.
#pragma once

#include <string>
#include <vector>

#include "config/options.h"
#include "spec/hugging_face/family.h"

namespace conclave {

struct HuggingFaceModel {
  const Family* family = nullptr;
  Json options;  ///< option -> value: everything the configuration says about the model
  std::vector<std::string> warnings;
};

/// Throws UserError naming `what` with everything that is wrong, missing, or not understood.
HuggingFaceModel read_hugging_face_config(const Json& config, const std::string& what);

/// A config.json for the model of resolved `options` with `vocab` tokens; `dtype` is Hugging Face's word ("bfloat16").
/// What it says is read back and compared with the options: throws UserError listing what the family cannot express.
Json write_hugging_face_config(const Options& options, int64_t vocab, const Family& family, const std::string& dtype);

/// The first family that can express the model; UserError with what is in the way of the likeliest one.
const Family& family_for(const Options& options, int64_t vocab);

}  // namespace conclave

// A checkpoint opened for use: evaluation and generation.
#pragma once

#include <memory>

#include "config/parse.h"
#include "data/tokenizer/tokenizer.h"
#include "trainer/engine.h"
#include "trainer/job.h"

namespace conclave {

struct LoadedModel {
  Options options;
  std::unique_ptr<ProcessGroups> groups;
  std::unique_ptr<Device> device;
  std::unique_ptr<Tokenizer> tokenizer;  ///< null: the checkpoint names none and none was given
  std::unique_ptr<Engine> engine;        ///< does not train
  int64_t iteration = 0;
};

/// Opens --load, with its own architecture and tokenizer where the options do not say otherwise.
/// Every rank of `world` holds its part of the layout that the options ask for; `world` must outlive the model.
LoadedModel load_model(ParsedOptions parsed, Command command, World& world);

}  // namespace conclave

// A Hugging Face model as the start of a run: its options, and its weights in an engine.
#pragma once

#include "comm/communicator.h"
#include "config/parse.h"
#include "convert/hf_import.h"
#include "trainer/engine.h"

namespace conclave {

/// The model's architecture replaces what `parsed` says; its dropout and the like, and its tokenizer, count where
/// nothing was given. Lines for the log: what was overruled.
std::vector<std::string> take_hugging_face(ParsedOptions& parsed, const HuggingFaceWeights& weights);

/// Fills weights and persistent buffers, each rank its own boxes, in pieces: no tensor is held twice. Weights that are
/// NaN or infinite are warned of by name.
void load_engine(Engine& engine, const HuggingFaceWeights& weights);

/// Keeps the model's small files in the run directory, where an export looks for them.
void keep_side_files(const std::string& from, const std::string& run_directory);

/// What a live model is exported with.
struct LiveExport {
  std::string run_directory;
  int64_t iteration = 0;
  Json state;  ///< options, vocab_size and origin, as in a checkpoint
  ConvertOptions convert;
};

/// Writes RUN/hf/iter_0000100 from the engine's weights, whatever the layout: through a checkpoint of the weights alone
/// that is removed afterwards. Collective over `world`.
void export_live_model(Engine& engine, Communicator& world, const LiveExport& request);

}  // namespace conclave

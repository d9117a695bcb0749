// A Hugging Face directory as a checkpoint: streamed, every weight in the dtype that keeps its bits.
#pragma once

#include <string>

#include "checkpoint/writer.h"
#include "convert/hf_state.h"

namespace conclave {

/// Writes iteration 0 of the run directory `output`, and the model's small files beside it. `world` is that of the
/// conversion (one rank).
SaveReport import_hugging_face(const HuggingFaceWeights& weights, const std::string& output, Communicator& world,
                               const Stream& stream);

/// The options that the checkpoint says it was made with: `tokenizer_folder` holds the tokenizer's files.
Json imported_options(const HuggingFaceWeights& weights, const std::string& tokenizer_folder);

}  // namespace conclave

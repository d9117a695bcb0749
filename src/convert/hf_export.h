// A checkpoint as a Hugging Face directory: streamed, written beside the target, read back and compared, then renamed.
#pragma once

#include <optional>
#include <string>

#include "checkpoint/reader.h"
#include "convert/hf_state.h"

namespace conclave {

struct ExportRequest {
  std::string output;  ///< must not be there yet, or be empty
  int64_t max_shard_size = 5'000'000'000;
  std::optional<ExpertForm> form;         ///< else one tensor per expert matrix
  std::optional<std::string> model_type;  ///< else the origin's, or the first that can express the model
  std::optional<DType> dtype;             ///< else each weight's own, or that of the training
  std::optional<std::string> side_files;  ///< folder of tokenizer files; else the run directory's
};

struct ExportReport {
  std::string model_type;
  int64_t tensors = 0, files = 0, bytes = 0;
};

/// Throws UserError, with nothing left behind, if the model cannot be said in a config.json, a tensor is missing, or
/// what was read back is not what was written.
ExportReport export_hugging_face(const CheckpointReader& checkpoint, const ExportRequest& request);

}  // namespace conclave

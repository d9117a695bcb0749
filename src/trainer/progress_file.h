// RUN/progress.txt (--log-progress): when a run started, what it had done at each checkpoint, how fast it was.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/file.h"

namespace conclave {

/// Where a run stands, over all its starts.
struct RunProgress {
  int64_t iteration = 0;
  double tokens = 0;
  double flops = 0;  ///< by Megatron's count
};

/// Lines of fields with a tabulator between them, first the local time: see docs/file-formats.md.
class ProgressFile {
 public:
  /// Appends "Starting job". `start`: where this start begins.
  ProgressFile(const std::string& path, std::string run_id, int64_t ranks, const RunProgress& start);
  /// Appends "Saved checkpoint" with TFLOP/s per rank since this start and over all starts.
  void saved(const RunProgress& now);

 private:
  std::string run_id_;
  int64_t ranks_;
  RunProgress start_;
  double earlier_seconds_ = 0;  ///< of earlier starts, each until its last checkpoint
  Stopwatch watch_;
  std::unique_ptr<OutputFile> file_;

  void read_earlier(const std::string& path);
  void append(const std::string& fields);
};

}  // namespace conclave

// Stopping on request: the first SIGINT or SIGTERM is only remembered, so that a run can finish its step and save.
#pragma once

namespace conclave {

/// While one lives, SIGINT and SIGTERM set a flag instead of ending the process; a SIGINT when the flag is already set
/// ends it at once with exit code 130. The handlers that were there before come back when the last one ends:
/// ranks that are threads of one process each have one.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
};

/// 0, or the first signal that asked to stop (SIGINT, SIGTERM). Safe from any thread.
int stop_signal();

}  // namespace conclave

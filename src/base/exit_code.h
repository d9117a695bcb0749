// What the process tells its parent. docs/running.md explains each to users.
#pragma once

#include "base/error.h"

namespace conclave {

enum class ExitCode : int {
  kDone = 0,    ///< finished, or saved and stopped on request
  kFailed = 1,  ///< an error; its text is on standard error
  kUsage = 2,   ///< wrong use of the command line
  kResumeToDisambiguate =
      16,  ///< a result was rejected: resume elsewhere to learn whether the machine or the run is at fault
  kValidationFailed = 17,  ///< the rejected result came back: the run, not the machine, is at fault
  kInterrupted = 130,      ///< a second SIGINT
};

/// Ends the command with a code other than 1; the text is printed like that of any error.
class ExitRequest : public Error {
 public:
  ExitRequest(ExitCode code, const std::string& text) : Error(text), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

}  // namespace conclave

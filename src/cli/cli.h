// The commands of the one binary.
#pragma once

namespace conclave {

/// Runs `conclave ARGS...` and returns the exit code: 0 done or saved and stopped on request, 1 failed, 2 usage, 16 and
/// 17 as in docs/running.md. Every exception ends here, as one printed text.
int run_command_line(int argc, char** argv);

}  // namespace conclave

#include "cli/command_options.h"

#include "base/log.h"
#include "device/cuda_device.h"

namespace conclave {
namespace {

bool runs_a_model(Command command) {
  return command == Command::kTrain || command == Command::kGenerate || command == Command::kEval ||
         command == Command::kBench || command == Command::kParity;
}

}  // namespace

ParsedOptions command_options(Command command, const Words& words) {
  ParsedOptions parsed = parse_command_line(command, words);
  set_log_level(log_level_of(parsed.options.logging.log_level));
  if (cuda_is_built_in() && runs_a_model(command) && !parsed.was_given("device")) parsed.options.device.device = "cuda";
  return parsed;
}

}  // namespace conclave

#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/command_options.h"
#include "config/options_text.h"
#include "trainer/run_state.h"
#include "trainer/training_run.h"

namespace conclave {

int train_command(const Words& words) {
  ParsedOptions parsed = command_options(Command::kTrain, words);
  if (parsed.options.checkpoint.use_checkpoint_args) {
    const std::optional<LoadPlan> plan = plan_load(parsed.options.checkpoint);
    CONCLAVE_USER_CHECK(plan.has_value(), "--use-checkpoint-args needs a checkpoint; give --load DIR");
    const CheckpointReader reader(plan->location.directory);
    for (const std::string& text : take_architecture(parsed, reader.state().at("options"))) log_info("{}", text);
  }
  TrainingRun run(parsed);
  return static_cast<int>(run.run());
}

}  // namespace conclave

#include <fmt/core.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/command_options.h"
#include "comm/launcher.h"
#include "config/options_text.h"
#include "config/validate.h"
#include "trainer/dry_run.h"
#include "trainer/hf_model.h"
#include "trainer/run_state.h"
#include "trainer/training_run.h"
#include "trainer/upcycling.h"

namespace conclave {

namespace {

// One rank of a job that is not there.
int pretend(ParsedOptions parsed) {
  CONCLAVE_USER_CHECK(!is_launched(),
                      "--fake-process-group is one rank alone, but a launcher started several; start it without mpirun "
                      "or srun");
  const ParsedOptions job = pretended_job(std::move(parsed));
  fmt::print("{}", rank_report_text(dry_run(job, *job.options.pretended.rank)));
  return 0;
}

// The new model is made and saved first; training then starts from it.
void upcycle_first(ParsedOptions& parsed) {
  CONCLAVE_USER_CHECK(!is_launched(),
                      "--moe-use-upcycling makes the new model in one process, but a launcher started several; make it "
                      "with conclave upcycle first and --load it here");
  const UpcyclingReport report = upcycle_model(parsed);
  CheckpointOptions& checkpoint = parsed.options.checkpoint;
  log_info("upcycled: {:.3f} billion parameters in '{}'{}", report.billions, report.directory,
           report.plan.exact ? "" : "; " + report.plan.note);
  if (report.difference) log_info("largest difference of logits from the dense model's: {:.3g}", *report.difference);
  checkpoint.load = checkpoint.save;
  checkpoint.load_hf.reset();
  checkpoint.ckpt_step = 0;
  parsed.options.moe.moe_use_upcycling = false;
  const CheckpointReader made(report.directory);
  take_architecture(parsed, made.state().at("options"));
}

}  // namespace

int train_command(const Words& words) {
  ParsedOptions parsed = command_options(Command::kTrain, words);
  const bool pretends = parsed.options.parallel.fake_process_group;
  if (parsed.options.moe.moe_use_upcycling && !pretends) upcycle_first(parsed);
  if (parsed.options.checkpoint.use_checkpoint_args) {
    const std::optional<LoadPlan> plan = plan_load(parsed.options.checkpoint);
    CONCLAVE_USER_CHECK(plan.has_value(), "--use-checkpoint-args needs a checkpoint; give --load DIR");
    const CheckpointReader reader(plan->location.directory);
    for (const std::string& text : take_architecture(parsed, reader.state().at("options"))) log_info("{}", text);
  }
  if (pretends) return pretend(std::move(parsed));
  const CheckpointOptions& checkpoint = parsed.options.checkpoint;
  if (starts_from_hugging_face(checkpoint)) {
    for (const std::string& text : take_hugging_face(parsed, HuggingFaceWeights(*checkpoint.load_hf)))
      log_info("{}", text);
  } else if (checkpoint.load_hf) {
    // The run goes on from its own checkpoint, whose architecture is that of the model it began with.
    const CheckpointReader reader(plan_load(checkpoint)->location.directory);
    take_architecture(parsed, reader.state().at("options"));
  }
  if (parsed.options.parallel.ranks_as_threads > 1) {
    // Said once, before any rank starts.
    ParsedOptions all = parsed;
    all.options.parallel.world_size = parsed.options.parallel.ranks_as_threads;
    checked_options(all, Command::kTrain);
  }
  return run_job(std::move(parsed), [](World& world, const ParsedOptions& options) {
    TrainingRun run(options, world);
    return static_cast<int>(run.run());
  });
}

}  // namespace conclave

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "cli/command.h"
#include "cli/command_options.h"
#include "config/validate.h"
#include "proof/layout_check.h"
#include "trainer/job.h"
#include "trainer/run_data.h"

namespace conclave {
namespace {

constexpr int64_t kMostSteps = 5;

int64_t step_count(const Options& options) {
  const int64_t asked = options.training.train_iters;
  return asked > 0 ? std::min(asked, kMostSteps) : kMostSteps;
}

void print_differences(const char* what, const std::vector<proof::TensorDifference>& list) {
  fmt::print("\n{:10} of its largest   of the bound\n", what);
  for (const proof::TensorDifference& one : list)
    fmt::print("{:>26.2e} {:>14.3f}   {}\n", one.relative, one.difference, one.name);
}

void print_report(const proof::TrainingTrace& one, const proof::LayoutReport& report) {
  fmt::print("step      loss, one process          layout   gradient norm          layout\n");
  for (size_t i = 0; i < report.losses.size(); ++i) {
    fmt::print("{:>4} {:>22.8f} {:>15.8f} {:>15.6f} {:>15.6f}\n", i + 1, one.losses[i], report.losses[i],
               one.gradient_norms[i], report.gradient_norms[i]);
  }
  print_differences("gradients", report.gradients);
  print_differences("weights", report.weights);
  const std::string fault = report.fault();
  fmt::print("\n{}\n", fault.empty() ? "the layout trains the same model" : "NOT the same: " + fault);
}

int verify(World& world, const ParsedOptions& parsed, const proof::TrainingTrace& one, int64_t vocab) {
  const proof::LayoutReport report = proof::check_layout(checked_options(parsed, Command::kTrain), vocab, world, one);
  if (world.rank() == 0) print_report(one, report);
  return report.fault().empty() ? 0 : 1;
}

}  // namespace

int verify_layout_command(const Words& words) {
  const ParsedOptions parsed = command_options(Command::kTrain, words);
  ParsedOptions alone = parsed;
  alone.options.parallel = ParallelOptions{};
  const Options options = checked_options(alone, Command::kTrain);
  const int64_t vocab = run_vocab_size(options, make_run_tokenizer(options.tokenizer, options.model.vocab_size).get());
  const proof::TrainingTrace one = proof::trace_one_process(options, vocab, step_count(options));
  return run_job(parsed,
                 [&](World& world, const ParsedOptions& laid_out) { return verify(world, laid_out, one, vocab); });
}

}  // namespace conclave

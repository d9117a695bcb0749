#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/command_options.h"
#include "config/validate.h"
#include "proof/bench/bench.h"
#include "proof/bench/layout_memory.h"
#include "proof/bench/scaling.h"
#include "trainer/run_data.h"

namespace conclave {
namespace {

// Layer and step take the options of training; what only a real run needs is filled in.
ParsedOptions with_training(ParsedOptions parsed) {
  if (parsed.options.data.data_path.empty()) parsed.options.data.mock_data = true;
  if (!parsed.options.optimizer.lr) parsed.options.optimizer.lr = 1e-4;
  if (parsed.options.training.train_iters == 0 && parsed.options.training.train_samples == 0)
    parsed.options.training.train_iters = 1000;
  return parsed;
}
Options model_options(const ParsedOptions& given) { return checked_options(with_training(given), Command::kTrain); }

proof::BenchReport measure(const ParsedOptions& parsed, Device& device) {
  const std::vector<std::string>& words = parsed.positionals;
  const double seconds = parsed.options.bench.min_seconds;
  if (words.size() == 1 && words[0] == "gemm") return proof::bench_op("gemm", device, seconds);
  if (words.size() == 2 && words[0] == "op") return proof::bench_op(words[1], device, seconds);
  if (words.size() == 1 && (words[0] == "layer" || words[0] == "step")) {
    const Options options = model_options(parsed);
    const auto tokenizer = make_run_tokenizer(options.tokenizer, options.model.vocab_size);
    const int64_t vocab = run_vocab_size(options, tokenizer.get());
    return words[0] == "step" ? proof::bench_step(options, vocab, device, seconds)
                              : proof::bench_layer(options, vocab, device, seconds);
  }
  throw UsageError("conclave bench takes gemm, op NAME, layer, step, memory or scaling; ops: " +
                   join(proof::bench_op_names(), " "));
}

}  // namespace

int bench_command(const Words& words) {
  const ParsedOptions parsed = command_options(Command::kBench, words);
  if (parsed.positionals == Words{"memory"}) {
    const auto rows = proof::bench_layout_memory(parsed);
    fmt::print("{}", parsed.options.bench.json ? proof::layout_memory_json(rows).dump(2) + "\n"
                                               : proof::layout_memory_table(rows));
    return 0;
  }
  if (parsed.positionals == Words{"scaling"}) {
    const ParsedOptions model = with_training(parsed);
    const auto tokenizer = make_run_tokenizer(model.options.tokenizer, model.options.model.vocab_size);
    const int64_t vocab = run_vocab_size(model_options(parsed), tokenizer.get());
    const auto rows = proof::bench_scaling(model, vocab, parsed.options.bench.min_seconds);
    fmt::print("{}", parsed.options.bench.json ? proof::scaling_json(rows).dump(2) + "\n" : proof::scaling_table(rows));
    return 0;
  }
  const auto device = make_device(parsed.options.device.device);
  const proof::BenchReport report = measure(parsed, *device);
  if (parsed.options.bench.trace) {
    if (report.profile.ops.empty())
      throw UsageError("conclave bench: --trace goes with step on a device that computes");
    write_file_atomically(*parsed.options.bench.trace, proof::chrome_trace(report.profile).dump(0) + "\n");
  }
  fmt::print("{}", parsed.options.bench.json ? proof::bench_json(report).dump(2) + "\n" : proof::bench_table(report));
  return 0;
}

}  // namespace conclave

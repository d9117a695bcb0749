#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/command_options.h"
#include "config/validate.h"
#include "proof/bench/bench.h"
#include "trainer/run_data.h"

namespace conclave {
namespace {

// Layer and step take the options of training; what only a real run needs is filled in.
Options model_options(const ParsedOptions& given) {
  ParsedOptions parsed = given;
  if (parsed.options.data.data_path.empty()) parsed.options.data.mock_data = true;
  if (!parsed.options.optimizer.lr) parsed.options.optimizer.lr = 1e-4;
  if (parsed.options.training.train_iters == 0 && parsed.options.training.train_samples == 0)
    parsed.options.training.train_iters = 1000;
  return checked_options(parsed, Command::kTrain);
}

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
  throw UsageError("conclave bench takes gemm, op NAME, layer or step; ops: " + join(proof::bench_op_names(), " "));
}

}  // namespace

int bench_command(const Words& words) {
  const ParsedOptions parsed = command_options(Command::kBench, words);
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

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "base/signal.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/command_options.h"
#include "config/validate.h"
#include "data/preprocess.h"
#include "data/tokenizer/tokenizer.h"
#include "trainer/run_data.h"

namespace conclave {
namespace {

// One line that is written over on a terminal, else a line every ten seconds and the last one.
class ProgressLine {
 public:
  void show(const PreprocessProgress& progress) {
    if (terminal_) {
      fmt::print(stderr, "\r\033[K{}{}", progress.text(), progress.finished ? "\n" : "");
    } else if (progress.finished || progress.seconds >= next_) {
      fmt::print(stderr, "{}\n", progress.text());
      next_ = progress.seconds + 10;
    }
  }

 private:
  bool terminal_ = isatty(STDERR_FILENO) == 1;
  double next_ = 10;
};

void print_result(const PreprocessResult& result) {
  for (const std::string& line : result.first_bad_lines) fmt::print(stderr, "left out: {}\n", line);
  if (result.bad_lines > 0) fmt::print(stderr, "{} bad lines left out\n", result.bad_lines);
  fmt::print("{} documents, {} tokens from {} in {}\n", result.documents, result.tokens, human_bytes(result.text_bytes),
             human_seconds(result.seconds));
  for (const std::string& prefix : result.outputs) fmt::print("{}\n", prefix);
}

}  // namespace

int preprocess_command(const Words& words) {
  const ParsedOptions parsed = command_options(Command::kPreprocess, words);
  const Options options = checked_options(parsed, Command::kPreprocess);
  if (!parsed.positionals.empty()) {
    throw UsageError(fmt::format("[cli/preprocess] takes options alone; got '{}'; files stand after --input",
                                 parsed.positionals[0]));
  }
  const std::unique_ptr<Tokenizer> tokenizer = make_run_tokenizer(options.tokenizer, options.model.vocab_size);
  PreprocessConfig config;
  config.inputs = options.preprocess.input;
  config.output_prefix = *options.preprocess.output_prefix;
  config.json_keys = options.preprocess.json_keys;
  config.append_eod = options.preprocess.append_eod;
  config.text_documents = text_documents_from_name(options.preprocess.text_documents);
  config.add_special_tokens = options.preprocess.add_special_tokens;
  config.workers = options.preprocess.workers;
  config.skip_bad_lines = options.preprocess.skip_bad_lines;
  ProgressLine line;
  config.progress = [&](const PreprocessProgress& progress) { line.show(progress); };
  const StopSignals signals;
  config.cancelled = [] { return stop_signal() != 0; };
  print_result(preprocess(config, *tokenizer));
  return 0;
}

}  // namespace conclave

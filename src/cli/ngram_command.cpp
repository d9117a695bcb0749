#include <fmt/core.h>

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/command_options.h"
#include "config/validate.h"
#include "proof/ngram_run.h"
#include "trainer/run_data.h"

namespace conclave {
namespace {

// Without a word about tokens they are bytes.
int64_t vocabulary(Options options) {
  if (options.model.vocab_size == 0 && !options.tokenizer.tokenizer_type) {
    options.tokenizer.tokenizer_type = "ByteTokenizer";
  }
  const auto tokenizer = make_run_tokenizer(options.tokenizer, options.model.vocab_size);
  return run_vocab_size(options, tokenizer.get());
}

std::string json_of(const proof::NgramReport& report) {
  Json json = Json::object();
  json["counted_tokens"] = report.counted_tokens;
  for (const proof::NgramSplit& split : report.splits) {
    Json entry = Json::object();
    entry["tokens"] = split.tokens;
    entry["loss"] = split.loss;
    json[split.split] = entry;
  }
  return json.dump() + "\n";
}

std::string text_of(const proof::NgramReport& report) {
  std::string text = fmt::format("3-gram model, interpolated Kneser-Ney, {} training tokens\n", report.counted_tokens);
  for (const proof::NgramSplit& split : report.splits) {
    text += fmt::format("{:>6}: {:>10} tokens  loss {:.4f}  perplexity {:.3f}  {:.4f} bits a token\n", split.split,
                        split.tokens, split.loss, std::exp(split.loss), split.loss / std::log(2.0));
  }
  return text;
}

}  // namespace

int ngram_command(const Words& words) {
  const ParsedOptions parsed = command_options(Command::kBench, words);
  const Options options = checked_options(parsed, Command::kBench);
  if (options.data.data_path.empty() && options.data.train_data_path.empty()) {
    throw UsageError("[cli/ngram] needs data; give --data-path PREFIX, or --train-data-path and --valid-data-path");
  }
  if (!parsed.positionals.empty()) {
    throw UsageError(fmt::format("[cli/ngram] takes options alone; got '{}'", parsed.positionals[0]));
  }
  const proof::NgramReport report = proof::measure_ngram({options.data, vocabulary(options), 3});
  fmt::print("{}", options.bench.json ? json_of(report) : text_of(report));
  return 0;
}

}  // namespace conclave

#include <fmt/core.h>

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/command_options.h"
#include "data/indexed_dataset.h"
#include "trainer/loaded_model.h"
#include "trainer/metrics.h"
#include "trainer/progress.h"
#include "trainer/run_data.h"
#include "trainer/text_evaluation.h"

namespace conclave {
namespace {

// Sequences at a time.
int64_t evaluation_batch(const LoadedModel& model) {
  const int64_t given = model.options.training.micro_batch_size;
  return given > 0 ? given : 8;
}

void print_report(const LoadedModel& model, const std::string& what, const EvaluationReport& report) {
  if (model.groups->rank() != 0) return;
  if (model.options.bench.json) {
    Json json = Json::object();
    json["what"] = what;
    json["iteration"] = model.iteration;
    json["tokens"] = report.tokens;
    json["lm_loss"] = report.loss();
    json["ppl"] = perplexity(report.loss());
    fmt::print("{}\n", json.dump());
  } else {
    fmt::print("{}: {:.0f} tokens | loss {:.6f} | perplexity {:.4f}\n", what, report.tokens, report.loss(),
               perplexity(report.loss()));
  }
}

EvaluationReport evaluate_with_progress(LoadedModel& model, std::span<const int32_t> tokens) {
  const bool speaks = model.groups->rank() == 0;
  ProgressDisplay display(ProgressDisplay::mode_from_option(speaks ? model.options.logging.progress : "off"));
  const int64_t batch = evaluation_batch(model);
  const EvaluationReport report = evaluate_tokens(*model.engine, tokens, batch, [&](double share) {
    display.update(
        {.done = static_cast<int64_t>(share * 1000), .total = 1000, .unit = "part", .seconds_left = {}, .note = {}});
  });
  display.finish();
  return report;
}

void evaluate_texts(LoadedModel& model) {
  if (model.tokenizer == nullptr)
    throw UserError("the checkpoint names no tokenizer; give --tokenizer-type and --tokenizer-model");
  for (const std::string& path : model.options.eval.text_file) {
    const std::vector<int32_t> tokens = model.tokenizer->encode(read_file(path));
    print_report(model, path, evaluate_with_progress(model, tokens));
  }
}

// The whole of each token file, document after document.
void evaluate_files(LoadedModel& model, const std::vector<std::string>& prefixes) {
  for (const std::string& prefix : prefixes) {
    const IndexedDataset data(prefix);
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < data.sequence_count(); ++i) {
      const std::vector<int32_t> sequence = data.read_sequence(i);
      tokens.insert(tokens.end(), sequence.begin(), sequence.end());
    }
    print_report(model, prefix, evaluate_with_progress(model, tokens));
  }
}

// One split as training sees it: its samples, once.
void evaluate_split(LoadedModel& model, const std::string& name) {
  const Split split = name == "train" ? Split::kTrain : name == "valid" ? Split::kValid : Split::kTest;
  const BatchSource source(whole_batch_config(model.options, model.tokenizer.get(), model.engine->spec().vocab));
  const EvaluationSum sum = evaluate_stream(*model.engine, source, split, evaluation_batch(model));
  EvaluationReport report;
  report.loss_sum = sum.loss_sum;
  report.tokens = sum.tokens;
  print_report(model, name + " split", report);
}

}  // namespace

namespace {

int evaluate_all(World& world, const ParsedOptions& parsed) {
  LoadedModel model = load_model(parsed, Command::kEval, world);
  const std::vector<std::string>& data_path = model.options.data.data_path;
  CONCLAVE_USER_CHECK(!data_path.empty() || !model.options.eval.text_file.empty(),
                      "what shall be evaluated? give --text-file FILES or --data-path PREFIXES");
  evaluate_texts(model);
  if (model.options.eval.split_name) {
    evaluate_split(model, *model.options.eval.split_name);
    return 0;
  }
  evaluate_files(model, data_path.empty() ? std::vector<std::string>{} : parse_data_path(data_path).prefixes);
  return 0;
}

}  // namespace

int eval_command(const Words& words) { return run_job(command_options(Command::kEval, words), evaluate_all); }

}  // namespace conclave

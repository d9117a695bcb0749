#include <fmt/core.h>

#include "cli/command.h"
#include "config/reference.h"

namespace conclave {

// name, what follows it, help. The function NAME_command stands in NAME_command.cpp.
#define CONCLAVE_COMMANDS(row)                                                                               \
  row(preprocess, "--input FILES --output-prefix PREFIX --tokenizer-type TYPE ...",                          \
      "turn text or JSONL into token files (.bin and .idx)")                                                 \
      row(ngram, "--data-path PREFIX ... [--split A,B,C] [--tokenizer-type TYPE] [--vocab-size N] [--json]", \
          "loss of a smoothed 3-gram model on the same data and split: a bar for a trained one")             \
          row(train, "--config FILE.yaml [--any-option value ...]", "train a model, or go on training one")  \
              row(eval, "--load DIR --text-file FILES | --data-path PREFIXES",                               \
                  "loss and perplexity on text or token files")                                              \
                  row(generate, "--load DIR --prompt TEXT ...", "continue a text, token by token") row(      \
                      golden, "[DIR]",                                                                       \
                      "put every golden case below DIR (default: tests/golden of the sources) through the product")

#define CONCLAVE_DECLARE(name, usage, help) int name##_command(const Words& words);
CONCLAVE_COMMANDS(CONCLAVE_DECLARE)

const std::vector<CommandEntry>& commands() {
#define CONCLAVE_ROW(name, usage, help) {#name, usage, help, name##_command},
  static const std::vector<CommandEntry> table = {
      CONCLAVE_COMMANDS(CONCLAVE_ROW)
      // Refused by name until they are built.
      {"inspect", "DIR [--iteration N]", "show a checkpoint, a data set or a run", nullptr},
      {"bench", "NAME ...", "time and memory of one op, layer or step", nullptr},
      {"convert", "--from hf|conclave --to hf|conclave --input DIR --output DIR", "Hugging Face import and export",
       nullptr},
      {"upcycle", "--load DENSE --save DIR ...", "make an MoE of a dense model", nullptr},
      {"verify-layout", "--config FILE.yaml LAYOUT-OPTIONS", "a parallel layout against one process", nullptr},
      {"parity", "--hf DIR --reference FILE", "a Hugging Face model against numbers made elsewhere", nullptr},
      {"plan", "--config FILE.yaml --world-size N --gpu NAME ...", "memory and time of a layout, search for one",
       nullptr},
      {"launch", "--nproc-per-node N [...] -- train ...", "start ranks without MPI", nullptr},
  };
  return table;
}

std::string help_text(const CommandEntry& command) {
  for (const Command known : {Command::kTrain, Command::kPreprocess, Command::kGenerate, Command::kEval,
                              Command::kInspect, Command::kBench}) {
    if (command_name(known) == command.name) return command_help(known);
  }
  return fmt::format("usage: conclave {} {}\n\n{}\n", command.name, command.usage, command.help);
}

}  // namespace conclave

#include <fmt/core.h>

#include "cli/command.h"
#include "config/reference.h"

namespace conclave {

// Each is defined in NAME_command.cpp.
int preprocess_command(const Words& words);
int ngram_command(const Words& words);
int train_command(const Words& words);
int eval_command(const Words& words);
int generate_command(const Words& words);
int bench_command(const Words& words);
int inspect_command(const Words& words);
int golden_command(const Words& words);
int plan_command(const Words& words);
int convert_command(const Words& words);
int parity_command(const Words& words);
int upcycle_command(const Words& words);
int verify_layout_command(const Words& words);

const std::vector<CommandEntry>& commands() {
  static const std::vector<CommandEntry> table = {
      {"preprocess", "--input FILES --output-prefix PREFIX --tokenizer-type TYPE ...",
       "turn text or JSONL into token files (.bin and .idx)", preprocess_command},
      {"ngram", "--data-path PREFIX ... [--split A,B,C] [--tokenizer-type TYPE] [--vocab-size N] [--json]",
       "loss of a smoothed 3-gram model on the same data and split: a bar for a trained one", ngram_command},
      {"train", "--config FILE.yaml [--any-option value ...]", "train a model, or go on training one", train_command},
      {"eval", "--load DIR --text-file FILES | --data-path PREFIXES", "loss and perplexity on text or token files",
       eval_command},
      {"generate", "--load DIR --prompt TEXT ...", "continue a text, token by token", generate_command},
      {"inspect", "PATH [--verify | --diff OTHER | --iteration N] [--json]",
       "show a checkpoint, a run or a data set; what a step trained on", inspect_command},
      {"bench", "gemm | op NAME | layer | step | memory | scaling [--json] [options of train]",
       "time and memory of ops, a layer, a step", bench_command},
      {"golden", "[DIR] [--device cpu|cuda] [LAYOUT OPTIONS]",
       "put every golden case below DIR (default: tests/golden of the sources) through the product; models in a layout",
       golden_command},
      {"plan", "--draw [--draw-format text|svg] [--config FILE.yaml] [--any-option value ...]",
       "draw the schedule of a pipeline", plan_command},
      {"convert", "--from hf|conclave --to hf|conclave --input DIR --output DIR", "Hugging Face import and export",
       convert_command},
      {"parity", "--hf DIR --reference FILE [--print all|worst]", "a Hugging Face model against numbers made elsewhere",
       parity_command},
      {"upcycle", "--load DENSE | --load-hf DENSE --save DIR --num-experts E ...",
       "make a model with experts of a dense one", upcycle_command},
      {"verify-layout", "--config FILE.yaml [options of train] --ranks-as-threads N LAYOUT-OPTIONS",
       "a parallel layout against one process: losses, every gradient, every weight", verify_layout_command},
      // Refused by name until they are built.
      {"launch", "--nproc-per-node N [...] -- train ...", "start ranks without MPI", nullptr},
  };
  return table;
}

std::string help_text(const CommandEntry& command) {
  for (const Command known :
       {Command::kTrain, Command::kPreprocess, Command::kGenerate, Command::kEval, Command::kInspect, Command::kBench,
        Command::kPlan, Command::kConvert, Command::kUpcycle, Command::kParity}) {
    if (command_name(known) == command.name) return command_help(known);
  }
  return fmt::format("usage: conclave {} {}\n\n{}\n", command.name, command.usage, command.help);
}

}  // namespace conclave

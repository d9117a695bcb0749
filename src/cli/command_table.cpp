#include "cli/command.h"

namespace conclave {

// name, usage, help. NAME_command is defined in NAME_command.cpp.
#define CONCLAVE_COMMANDS(row) \
  row(golden, "[DIR]", "put every golden case below DIR (default: tests/golden of the sources) through the product")

#define CONCLAVE_DECLARE(name, usage, help) int name##_command(const CommandLine& line);
CONCLAVE_COMMANDS(CONCLAVE_DECLARE)

const std::vector<Command>& commands() {
#define CONCLAVE_ROW(name, usage, help) {#name, usage, help, name##_command},
  static const std::vector<Command> table = {
      CONCLAVE_COMMANDS(CONCLAVE_ROW)
      // Named by the design, refused until they are built.
      {"train", "--config FILE.yaml [--any-option value ...]", "train a model", nullptr},
      {"preprocess", "--input FILES --output-prefix P --tokenizer-type T ...", "text or JSONL to .bin and .idx",
       nullptr},
      {"generate", "--load DIR --prompt TEXT ...", "continue a text", nullptr},
      {"eval", "--load DIR --data-path P ...", "loss and perplexity on text or tokens", nullptr},
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

}  // namespace conclave

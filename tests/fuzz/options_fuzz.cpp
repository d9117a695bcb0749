// rooms: config
// Options from a stranger: read, checked and written again, or refused with a text.
// Input: one byte = what the rest is: YAML, JSON, words of a command line, or one of the small languages of options.
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "base/text.h"
#include "config/batch_changes.h"
#include "config/list_expression.h"
#include "config/options_text.h"
#include "config/pipeline_layout.h"
#include "config/validate.h"

namespace conclave {
namespace {

// What was read must read back from what is written of it.
void use(const ParsedOptions& parsed) {
  unavailable_options(parsed);
  option_contradictions(parsed, Command::kTrain);
  inactive_summary(parsed);
  const std::string yaml = options_yaml(parsed.options);
  if (options_yaml(parse_yaml(yaml, "own output").options) != yaml) std::abort();
}

void read(uint8_t kind, const std::string& text) {
  switch (kind % 6) {
    case 0:
      return use(parse_yaml(text, "input"));
    case 1:
      return use(options_from_json(Json::parse(text, "input"), "input"));
    case 2: {
      // A fuzzer must not choose files to open.
      if (text.find("config") != std::string::npos) return;
      return use(parse_command_line(Command::kTrain, split_words(text)));
    }
    case 3:
      every_nth_layer(text, 8, "--moe-layer-freq");
      return;
    case 4:
      check_pipeline_layout(parse_pipeline_layout(text), {2, 4, 0, {}});
      return;
    case 5:
      parse_batch_changes(text, 128);
      return;
  }
}

}  // namespace
}  // namespace conclave

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    conclave::read(data[0], std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  } catch (const conclave::UserError&) {
  }
  return 0;
}

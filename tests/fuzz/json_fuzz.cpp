// rooms: base
// JSON from a stranger: parsed and written again, or refused with a text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using conclave::Json;
  try {
    const Json value = Json::parse({reinterpret_cast<const char*>(data), size}, "input");
    const std::string text = value.dump();
    if (Json::parse(text, "own output").dump() != text) std::abort();
  } catch (const conclave::UserError&) {
  }
  return 0;
}

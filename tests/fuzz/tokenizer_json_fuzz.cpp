// rooms: data
// A tokenizer.json from a stranger: refused with a text, or it encodes and decodes.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "base/json.h"
#include "data/tokenizer/hugging_face/hugging_face_tokenizer.h"
#include "fuzz_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  try {
    const HuggingFaceTokenizer tokenizer(Json::parse({reinterpret_cast<const char*>(data), size}, "input"));
    check_fuzzed_tokenizer(tokenizer, {"", " a  word's\n<s> <|x|>\u2581\u00E9e\u0301 12345 ABcd\t", "\xFF\xC3",
                                       "\u017F\u200B\u3000\U0001F600"});
  } catch (const UserError&) {
  }
  return 0;
}

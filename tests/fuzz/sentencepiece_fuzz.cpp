// rooms: data
// A SentencePiece model from a stranger: refused with a text, or it encodes and decodes.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "data/tokenizer/sentencepiece/sentencepiece_tokenizer.h"
#include "fuzz_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  try {
    const SentencePieceTokenizer tokenizer({reinterpret_cast<const char*>(data), size}, "input");
    check_fuzzed_tokenizer(tokenizer, {"", "  ab abab  <x>\n\u2581aabb\t", "\xFF\xC3",
                                       "\u2167\u00E9e\u0301\uFF21\u200B\u3000\U0001F600 000"});
  } catch (const UserError&) {
  }
  return 0;
}

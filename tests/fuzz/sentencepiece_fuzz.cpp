// rooms: data
// A SentencePiece model from a stranger: refused with a text, or it encodes and decodes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "data/tokenizer/sentencepiece/sentencepiece_tokenizer.h"
#include "data/tokenizer/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  try {
    const SentencePieceTokenizer tokenizer({reinterpret_cast<const char*>(data), size}, "input");
    for (const std::string_view text :
         {"", "  ab abab  <x>\n\u2581aabb\t", "\xFF\xC3", "\u2167\u00E9e\u0301\uFF21\u200B\u3000\U0001F600 000"}) {
      const std::vector<int32_t> ids = tokenizer.encode(text);
      for (const int32_t id : ids) {
        if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
      }
      if (!utf8::is_valid(tokenizer.decode(ids))) std::abort();
    }
    std::vector<int32_t> all;
    for (int32_t id = 0; id < std::min<int64_t>(tokenizer.vocab_size(), 500); ++id) all.push_back(id);
    if (!utf8::is_valid(tokenizer.decode(all))) std::abort();
  } catch (const UserError&) {
  }
  return 0;
}

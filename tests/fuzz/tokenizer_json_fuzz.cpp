// rooms: data
// A tokenizer.json from a stranger: refused with a text, or it encodes and decodes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "data/tokenizer/hugging_face/hugging_face_tokenizer.h"
#include "data/tokenizer/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  try {
    const HuggingFaceTokenizer tokenizer(Json::parse({reinterpret_cast<const char*>(data), size}, "input"));
    for (const std::string_view text :
         {"", " a  word's\n<s> <|x|>\u2581\u00E9e\u0301 12345 ABcd\t", "\xFF\xC3", "\u017F\u200B\u3000\U0001F600"}) {
      const std::vector<int32_t> ids = tokenizer.encode_with_special(text);
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

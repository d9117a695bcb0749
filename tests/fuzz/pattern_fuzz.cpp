// rooms: data
// A word pattern and, after a zero byte, a text: refused with a text, or its matches lie in order on character borders.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/tokenizer/regex.h"
#include "data/tokenizer/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = std::min(input.find('\0'), input.size());
  std::string text;
  utf8::append_replacing_broken(text, input.substr(std::min(zero + 1, input.size())).substr(0, 100));
  try {
    const Regex regex = Regex::from_ruby(input.substr(0, zero));
    size_t last = 0;
    regex.for_each(text, [&](size_t begin, size_t end) {
      const auto border = [&](size_t at) {
        return at == text.size() || (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
      };
      if (begin < last || end < begin || end > text.size() || !border(begin) || !border(end)) std::abort();
      last = end;
    });
  } catch (const UserError&) {
  }
  return 0;
}

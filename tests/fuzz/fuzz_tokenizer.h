// What every tokenizer must hold, whatever file made it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/utf8.h"

namespace conclave {

/// Ids are inside the vocabulary, and what they decode to is UTF-8; abort() otherwise.
inline void check_fuzzed_tokenizer(const Tokenizer& tokenizer, std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts) {
    const std::vector<int32_t> ids = tokenizer.encode_with_special(text);
    for (const int32_t id : ids) {
      if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
    }
    if (!utf8::is_valid(tokenizer.decode(ids))) std::abort();
  }
  std::vector<int32_t> all;
  for (int32_t id = 0; id < std::min<int64_t>(tokenizer.vocab_size(), 500); ++id) all.push_back(id);
  if (!utf8::is_valid(tokenizer.decode(all))) std::abort();
}

}  // namespace conclave

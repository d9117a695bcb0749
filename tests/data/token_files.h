// Small token files whose every token tells where it stands: data set, document and place.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/indexed_dataset.h"

namespace conclave {

/// `documents` documents of lengths 1 + (7 i mod longest); token = first + running number, the last of each is eod 0.
inline void write_token_file(const std::string& prefix, int64_t documents, int32_t first, int64_t longest = 23) {
  IndexedDatasetBuilder builder(prefix, DType::kI32);
  int32_t next = first;
  for (int64_t i = 0; i < documents; ++i) {
    std::vector<int32_t> tokens(static_cast<size_t>(1 + 7 * i % longest));
    for (int32_t& token : tokens) token = next++;
    tokens.back() = 0;
    builder.add_sequence(tokens);
    builder.end_document();
  }
  builder.finalize();
}

}  // namespace conclave

// Padding of the vocabulary.
#pragma once

#include <cstdint>

namespace conclave {

/// The smallest multiple of divisible_by * tensor_size that is at least `vocab_size`.
int64_t padded_vocab_size(int64_t vocab_size, int64_t divisible_by, int64_t tensor_size);

}  // namespace conclave

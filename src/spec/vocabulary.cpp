#include "spec/vocabulary.h"

#include "base/error.h"

namespace conclave {

int64_t padded_vocab_size(int64_t vocab_size, int64_t divisible_by, int64_t tensor_size) {
  CONCLAVE_CHECK(vocab_size > 0 && divisible_by > 0 && tensor_size > 0, "vocabulary of {} padded to {} * {}",
                 vocab_size, divisible_by, tensor_size);
  return round_up(vocab_size, divisible_by * tensor_size);
}

}  // namespace conclave

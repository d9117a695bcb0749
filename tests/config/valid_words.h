// A command line that is valid, to which tests add what they are about. Given twice the last wins.
#pragma once

#include <string>
#include <vector>

#include "base/text.h"

namespace conclave {

inline std::vector<std::string> valid_words(const std::string& more) {
  return split_words(
      "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --micro-batch-size 2 --lr 1e-3 "
      "--train-iters 10 --mock-data --tokenizer-type NullTokenizer --vocab-size 100 --num-experts 8 "
      "--moe-router-topk 2 --disable-bias-linear " +
      more);
}

}  // namespace conclave

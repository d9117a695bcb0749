// A tokenizer that is well-formed but asks for something that is not built.
#pragma once

#include "base/error.h"

namespace conclave {

class UnsupportedTokenizer : public UserError {
 public:
  using UserError::UserError;
};

}  // namespace conclave

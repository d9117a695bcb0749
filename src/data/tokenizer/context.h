// Says where in a file an error is.
#pragma once

#include <string>

#include "base/error.h"
#include "data/tokenizer/unsupported.h"

namespace conclave {

/// Runs `action`; a UserError gets `context` in front and keeps its type.
template <typename Action>
auto with_context(const std::string& context, Action&& action) {
  try {
    return action();
  } catch (const UnsupportedTokenizer& error) {
    throw UnsupportedTokenizer(context + ": " + error.what());
  } catch (const UserError& error) {
    throw UserError(context + ": " + error.what());
  }
}

}  // namespace conclave

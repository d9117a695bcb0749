#include "base/error.h"

namespace conclave {

void throw_user(const std::string& text) { throw UserError(text); }

void throw_internal(const char* file, int line, const char* expression, const std::string& text) {
  throw InternalError(
      fmt::format("{} (internal check `{}` failed at {}:{}; please report this)", text, expression, file, line));
}

}  // namespace conclave

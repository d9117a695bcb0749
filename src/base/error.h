// Checks and the two families of errors. Libraries throw; only main() exits.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace conclave {

/// Root of every exception Conclave throws on purpose.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The user's fault: text = rule broken, values got, what to do.
class UserError : public Error {
 public:
  using Error::Error;
};

/// Wrong use of the command line; main() exits with 2.
class UsageError : public UserError {
 public:
  using UserError::UserError;
};

/// Our fault: a broken invariant.
class InternalError : public Error {
 public:
  using Error::Error;
};

[[noreturn]] void throw_user(const std::string& text);
[[noreturn]] void throw_internal(const char* file, int line, const char* expression, const std::string& text);

/// Throws InternalError unless `condition`; the rest is an fmt format string with its values.
#define CONCLAVE_CHECK(condition, ...)                                                        \
  do {                                                                                        \
    if (!(condition)) [[unlikely]] {                                                          \
      ::conclave::throw_internal(__FILE__, __LINE__, #condition, ::fmt::format(__VA_ARGS__)); \
    }                                                                                         \
  } while (false)

/// Throws InternalError with both values unless a == b.
#define CONCLAVE_CHECK_EQ(a, b, ...)                                                              \
  do {                                                                                            \
    const auto& conclave_a = (a);                                                                 \
    const auto& conclave_b = (b);                                                                 \
    if (!(conclave_a == conclave_b)) [[unlikely]] {                                               \
      ::conclave::throw_internal(                                                                 \
          __FILE__, __LINE__, #a " == " #b,                                                       \
          ::fmt::format(__VA_ARGS__) + ::fmt::format("; got {} and {}", conclave_a, conclave_b)); \
    }                                                                                             \
  } while (false)

/// Throws UserError unless `condition`: "[room/op] rule broken; got values; do this."
#define CONCLAVE_USER_CHECK(condition, ...)               \
  do {                                                    \
    if (!(condition)) [[unlikely]] {                      \
      ::conclave::throw_user(::fmt::format(__VA_ARGS__)); \
    }                                                     \
  } while (false)

/// Integer conversion that throws instead of changing the value.
template <typename To, typename From>
To narrow(From value) {
  static_assert(std::is_integral_v<To> && std::is_integral_v<From>);
  const To result = static_cast<To>(value);
  CONCLAVE_CHECK(static_cast<From>(result) == value && (result < To{}) == (value < From{}), "number {} does not fit",
                 value);
  return result;
}

/// a / b where b must divide a.
inline int64_t div_exact(int64_t a, int64_t b) {
  CONCLAVE_CHECK(b != 0 && a % b == 0, "{} is not divisible by {}", a, b);
  return a / b;
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t multiple) { return ceil_div(a, multiple) * multiple; }

}  // namespace conclave

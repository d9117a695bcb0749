// What ends collectives other than success.
#pragma once

#include <exception>
#include <string>

#include "base/error.h"

namespace conclave {

/// Members called different collectives; names both sides.
class CollectiveMismatch : public Error {
 public:
  using Error::Error;
};

/// Some members never came; names the collective, its group and them.
class CollectiveTimeout : public Error {
 public:
  using Error::Error;
};

/// Another rank failed first: its cause is printed, this error is not.
class PeerFailed : public Error {
 public:
  using Error::Error;
};

/// An exception as a parent process or a person sees it.
struct Failure {
  std::string text;
  int exit_code = 1;
};
Failure describe_failure(const std::exception_ptr& failure);
/// "rank 3: text", once.
std::string with_rank(int64_t rank, const std::string& text);
/// Throws an error of the same family with "rank 3: " before its text.
[[noreturn]] void rethrow_with_rank(int64_t rank, const std::exception_ptr& failure);

}  // namespace conclave

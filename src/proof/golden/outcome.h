// How a golden case ends other than by passing.
#pragma once

#include <stdexcept>

namespace conclave::proof {

/// The product says something else than the case.
struct Mismatch : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// The case needs an option, a feature or a kind that is not there; the text names it.
struct NotBuilt : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace conclave::proof

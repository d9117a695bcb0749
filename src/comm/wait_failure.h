// The texts of waits that were in vain.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace conclave {

/// `what` says the operation, its name and group; `ranks` are ranks of the world.
[[noreturn]] void throw_timeout(const std::string& what, double seconds, const std::vector<int64_t>& ranks);
[[noreturn]] void throw_left(const std::string& what, const std::vector<int64_t>& ranks);

}  // namespace conclave

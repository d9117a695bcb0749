#include "comm/wait_failure.h"

#include "base/text.h"
#include "comm/failure.h"

namespace conclave {
namespace {

std::string named(const std::vector<int64_t>& ranks) {
  std::vector<std::string> words;
  for (const int64_t rank : ranks) words.push_back(std::to_string(rank));
  return (words.size() == 1 ? "rank " : "ranks ") + join(words, ", ");
}

}  // namespace

void throw_timeout(const std::string& what, double seconds, const std::vector<int64_t>& ranks) {
  throw CollectiveTimeout(
      fmt::format("[comm] {} waited {:g} s for {} of the world, which never came; see what they wrote last, try "
                  "--check-collectives, or give more time (--distributed-timeout-minutes)",
                  what, seconds, named(ranks)));
}

void throw_left(const std::string& what, const std::vector<int64_t>& ranks) {
  throw CollectiveMismatch(fmt::format(
      "[comm] {} waits for {} of the world, whose work is over: ranks must run the same program with the same options",
      what, named(ranks)));
}

}  // namespace conclave

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/clock.h"
#include "base/exit_code.h"
#include "comm/collective_cases.h"
#include "comm/failure.h"
#include "comm/world.h"

namespace conclave {
namespace {

class EveryCollective : public testing::TestWithParam<int64_t> {};

TEST_P(EveryCollective, EqualsPlainLoops) {
  for (const bool check : {false, true}) {
    for (const cases::CollectiveCase& one : cases::collective_cases()) {
      const CommSettings settings{.check_collectives = check, .timeout_seconds = 60};
      EXPECT_NO_THROW(run_ranks_as_threads({.ranks = GetParam(), .settings = settings}, one.run)) << one.name;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Ranks, EveryCollective, testing::Range(int64_t{1}, int64_t{6}));

TEST(Self, EqualsPlainLoops) {
  for (const cases::CollectiveCase& one : cases::collective_cases()) {
    const auto world = make_self_world();
    EXPECT_NO_THROW(one.run(*world)) << one.name;
  }
}

}  // namespace
}  // namespace conclave

#include <gtest/gtest.h>

#include <new>

#include "base/clock.h"
#include "base/exit_code.h"
#include "comm/collective_cases.h"
#include "comm/failing_ranks.h"
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

TEST(ThreadFailures, EndTheJobWithTheFirstCause) {
  for (const cases::FailingJob& failing : cases::failing_jobs()) {
    if (failing.needs_process) continue;
    SCOPED_TRACE(failing.name);
    const Stopwatch watch;
    try {
      run_ranks_as_threads({.ranks = 3, .settings = failing.settings}, failing.run);
      ADD_FAILURE() << "did not fail";
    } catch (...) {
      const Failure failure = describe_failure(std::current_exception());
      EXPECT_EQ(failure.text.find("rank "), 0u) << failure.text;
      for (const std::string& word : failing.cause)
        EXPECT_NE(failure.text.find(word), std::string::npos) << failure.text;
      EXPECT_EQ(failure.exit_code, failing.exit_code);
    }
    EXPECT_LT(watch.seconds(), 10);
  }
}

TEST(ThreadFailures, KeepTheFamilyOfTheError) {
  const auto run = [](auto error) {
    run_ranks_as_threads({.ranks = 2}, [&](World& world) {
      if (world.rank() == 1) throw error;
      world.all().barrier("end");
    });
  };
  EXPECT_THROW(run(UsageError("x")), UsageError);
  EXPECT_THROW(run(UserError("x")), UserError);
  EXPECT_THROW(run(InternalError("x")), InternalError);
  EXPECT_THROW(run(ExitRequest(ExitCode::kValidationFailed, "x")), ExitRequest);
  EXPECT_THROW(run(std::bad_alloc()), UserError);
  EXPECT_THROW(run(std::runtime_error("x")), Error);
}

}  // namespace
}  // namespace conclave

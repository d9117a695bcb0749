#include "trainer/agreement.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "config/parse.h"

namespace conclave {
namespace {

// What ends a job whose ranks have these values of --lr.
std::string fault_of(const std::vector<double>& values) {
  try {
    run_ranks_as_threads({.ranks = static_cast<int64_t>(values.size()), .settings = {.timeout_seconds = 20}},
                         [&](World& world) {
                           Json own = Json::object();
                           own["--seed"] = 1;
                           own["--lr"] = values[static_cast<size_t>(world.rank())];
                           check_ranks_agree(world, "was started with other options", own);
                         });
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Agreement, NamesTheRanksThatDifferFromMost) {
  EXPECT_EQ(fault_of({0.1}), "");
  EXPECT_EQ(fault_of({0.1, 0.1, 0.1}), "");
  EXPECT_EQ(fault_of({0.1, 0.1, 0.5}),
            "rank 2: this rank was started with other options than rank 0: --lr is 0.5 here, 0.1 there; of 3 ranks, "
            "those that differ: 2; start all alike");
  EXPECT_EQ(fault_of({0.5, 0.1, 0.1, 0.2}),
            "rank 0: this rank was started with other options than rank 1: --lr is 0.5 here, 0.1 there; of 4 ranks, "
            "those that differ: 0, 3; start all alike");
  EXPECT_EQ(fault_of({0.1, 0.5}),
            "rank 1: this rank was started with other options than rank 0: --lr is 0.5 here, 0.1 there; of 2 ranks, "
            "those that differ: 1; start all alike");
}

TEST(Agreement, ThreadsAndPlacesOfDataMayDiffer) {
  const auto options = [](const std::vector<std::string>& words) {
    return comparable_options(parse_command_line(Command::kTrain, words).options).dump();
  };
  EXPECT_EQ(options({"--threads", "4", "--data-path", "a"}), options({"--data-path", "b", "--num-workers", "7"}));
  EXPECT_NE(options({"--lr", "0.1"}), options({"--lr", "0.2"}));
  EXPECT_NE(options({"--save", "a"}), options({"--save", "b"}));
}

}  // namespace
}  // namespace conclave

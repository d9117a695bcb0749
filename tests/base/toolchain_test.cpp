// What the compiler itself must get right.
#include <gtest/gtest.h>

#include <vector>

namespace conclave {
namespace {

__attribute__((noinline)) double last(const std::vector<double>& list) { return list.back(); }

TEST(Toolchain, ConstantListsKeepTheirZeros) {
  const std::vector<double> list{2, 2, 0, 0};
  EXPECT_EQ(last(list), 0.0);
  EXPECT_EQ(last({2, 2, 0, 0}), 0.0);
  EXPECT_EQ(last({5, 5, 0, 0}), 0.0);
}

}  // namespace
}  // namespace conclave

// Every case of the performance table has a name of its own and runs on the simulator.
#include <gtest/gtest.h>

#include <cctype>
#include <set>

#include "kernels/op_case.h"
#include "kernels/product_ceiling.h"

namespace conclave::kernels {
namespace {

TEST(PerformanceTable, NamesAreUniqueAndCasesHaveACost) {
  std::set<std::string> names;
  for (const OpFamily& family : performance_table()) {
    EXPECT_FALSE(family.cases.empty()) << family.name;
    for (const OpCase& op_case : family.cases) {
      EXPECT_TRUE(names.insert(family.name + "/" + op_case.name).second) << op_case.name << " stands there twice";
      for (const char c : op_case.name) EXPECT_TRUE(std::isalnum(c) != 0 || c == '_') << op_case.name;
      EXPECT_GT(footprint(op_case).cost.bytes, 0) << op_case.name;
    }
  }
}

TEST(ProductCeiling, IsASpeedAndSimHasNone) {
  const auto cpu = make_device("cpu"), sim = make_device("sim");
  for (const DType dtype : {DType::kF32, DType::kBF16}) EXPECT_GT(product_ceiling(*cpu, dtype, 0), 1e6);
  EXPECT_THROW(product_ceiling(*sim, DType::kF32, 0), InternalError);
}

}  // namespace
}  // namespace conclave::kernels

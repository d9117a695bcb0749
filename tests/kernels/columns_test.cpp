#include "kernels/columns.h"

#include "kernels/op_check.h"
#include "kernels/ref/columns.h"

namespace conclave::kernels {
namespace {

CheckedCase columns_case(DType dtype, int64_t rows, int64_t a, int64_t b, bool join) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("{}_{}_{}x{}x{}", join ? "join" : "split", dtype_name(dtype), rows, a, b);
  const auto buffer = [&](const char* name, Shape shape, bool input) {
    input ? op.input(name, dtype, shape, normal()) : op.output(name, dtype, shape, exact());
  };
  buffer("x", {rows, a + b}, !join);
  buffer("left", {rows, a}, join);
  buffer("right", {rows, b}, join);
  op.run = [join](const Stream& stream, const OpTensors& t) {
    join ? join_columns(stream, {t["left"], t["right"], t["x"]})
         : split_columns(stream, {t["x"], t["left"], t["right"]});
  };
  checked.reference = [=](OpValues& v) {
    ref::visit_columns(rows, a, b, v.data("x"), v.data("left"), v.data("right"),
                       [join](double& whole, double& part) { join ? whole = part : part = whole; });
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const bool join : {false, true}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      out.push_back(columns_case(dtype, 0, 3, 4, join));
      out.push_back(columns_case(dtype, 1, 1, 1, join));
      out.push_back(columns_case(dtype, 5, 7, 0, join));
      out.push_back(columns_case(dtype, 9, 33, 18, join));
      out.push_back(columns_case(dtype, 300, 64, 64, join));
    }
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Columns, OpCheck, ::testing::ValuesIn(checks()), case_name);

TEST(Columns, LeftStandsBeforeRight) {
  std::vector<double> x = {1, 2, 3, 4, 5, 6}, left(4), right(2);
  ref::visit_columns<double>(2, 2, 1, x.data(), left.data(), right.data(),
                             [](double& whole, double& part) { part = whole; });
  EXPECT_EQ(left, (std::vector<double>{1, 2, 4, 5}));
  EXPECT_EQ(right, (std::vector<double>{3, 6}));
}

}  // namespace
}  // namespace conclave::kernels

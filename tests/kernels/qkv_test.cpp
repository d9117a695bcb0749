#include "kernels/qkv.h"

#include "kernels/op_check.h"
#include "kernels/ref/qkv.h"

namespace conclave::kernels {
namespace {

struct Setting {
  DType dtype = DType::kF32;
  int64_t batch = 1, heads = 1, groups = 1, length = 1, size = 1;
};

ref::Qkv<double> reference_args(const Setting& s, OpValues& v) {
  return {s.batch, s.heads, s.groups, s.length, s.size, v.data("fused"), v.data("q"), v.data("k"), v.data("v")};
}

CheckedCase qkv_case(const Setting& s, bool merge) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("{}_{}_{}x{}x{}x{}x{}", merge ? "merge" : "split", dtype_name(s.dtype), s.batch, s.heads,
                        s.groups, s.length, s.size);
  const auto buffer = [&](const char* name, Shape shape, bool input) {
    input ? op.input(name, s.dtype, shape, normal()) : op.output(name, s.dtype, shape, exact());
  };
  buffer("fused", {s.length, s.batch, (s.heads + 2 * s.groups) * s.size}, !merge);
  buffer("q", {s.batch, s.heads, s.length, s.size}, merge);
  buffer("k", {s.batch, s.groups, s.length, s.size}, merge);
  buffer("v", {s.batch, s.groups, s.length, s.size}, merge);
  op.run = [merge](const Stream& stream, const OpTensors& t) {
    merge ? merge_qkv(stream, {t["q"], t["k"], t["v"], t["fused"]})
          : split_qkv(stream, {t["fused"], t["q"], t["k"], t["v"]});
  };
  checked.reference = [s, merge](OpValues& v) {
    merge ? ref::merge_qkv(reference_args(s, v)) : ref::split_qkv(reference_args(s, v));
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const bool merge : {false, true}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      out.push_back(qkv_case({dtype, 1, 1, 1, 1, 1}, merge));
      out.push_back(qkv_case({dtype, 2, 4, 2, 0, 8}, merge));
      out.push_back(qkv_case({dtype, 3, 6, 2, 5, 7}, merge));
      out.push_back(qkv_case({dtype, 2, 4, 4, 70, 32}, merge));
      out.push_back(qkv_case({dtype, 1, 8, 1, 33, 48}, merge));
    }
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Qkv, OpCheck, ::testing::ValuesIn(checks()), case_name);

TEST(Qkv, HeadsOfAGroupStandTogether) {
  // Two groups of two query heads, one element each: rows are q0 q1 k0 v0 q2 q3 k1 v1.
  std::vector<double> fused = {1, 2, 3, 4, 5, 6, 7, 8}, q(4), k(2), v(2);
  ref::split_qkv<double>({1, 4, 2, 1, 1, fused.data(), q.data(), k.data(), v.data()});
  EXPECT_EQ(q, (std::vector<double>{1, 2, 5, 6}));
  EXPECT_EQ(k, (std::vector<double>{3, 7}));
  EXPECT_EQ(v, (std::vector<double>{4, 8}));
}

}  // namespace
}  // namespace conclave::kernels

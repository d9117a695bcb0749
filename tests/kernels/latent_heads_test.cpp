#include "kernels/latent_heads.h"

#include "kernels/op_check.h"
#include "kernels/ref/latent_heads.h"

namespace conclave::kernels {
namespace {

std::string shape_name(const ref::LatentShape& s) {
  return fmt::format("{}x{}x{}x{}x{}x{}", s.batch, s.heads, s.length, s.plain, s.rotated, s.value);
}

CheckedCase query_case(DType dtype, const ref::LatentShape& s, bool merge) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("query_{}_{}_{}", merge ? "merge" : "split", dtype_name(dtype), shape_name(s));
  const auto buffer = [&](const char* name, Shape shape, bool input) {
    input ? op.input(name, dtype, shape, normal()) : op.output(name, dtype, shape, exact());
  };
  buffer("fused", {s.length, s.batch, s.heads * (s.plain + s.rotated)}, !merge);
  buffer("q", {s.batch, s.heads, s.length, s.rotated + s.plain}, merge);
  op.run = [merge, rotated = s.rotated](const Stream& stream, const OpTensors& t) {
    merge ? merge_latent_query(stream, {t["q"], t["fused"], rotated})
          : split_latent_query(stream, {t["fused"], t["q"], rotated});
  };
  checked.reference = [s, merge](OpValues& v) {
    ref::visit_latent_query(s, v.data("fused"), v.data("q"),
                            [merge](double& fused, double& head) { merge ? fused = head : head = fused; });
  };
  return checked;
}

Shape up_shape(const ref::LatentShape& s) { return {s.length, s.batch, s.heads * (s.plain + s.value)}; }

CheckedCase keys_case(DType dtype, const ref::LatentShape& s) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("keys_{}_{}", dtype_name(dtype), shape_name(s));
  op.input("up", dtype, up_shape(s), normal()).input("shared", dtype, {s.length, s.batch, s.rotated}, normal());
  op.output("k", dtype, {s.batch, s.heads, s.length, s.rotated + s.plain}, exact());
  op.output("v", dtype, {s.batch, s.heads, s.length, s.value}, exact());
  op.run = [](const Stream& stream, const OpTensors& t) {
    join_latent_keys(stream, {t["up"], t["shared"], t["k"], t["v"]});
  };
  checked.reference = [s](OpValues& v) {
    ref::visit_latent_keys(s, v.data("up"), v.data("shared"), v.data("k"), v.data("v"),
                           [](double& from, double& head) { head = from; });
  };
  return checked;
}

CheckedCase keys_backward_case(DType dtype, const ref::LatentShape& s) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("keys_backward_{}_{}", dtype_name(dtype), shape_name(s));
  op.input("dk", dtype, {s.batch, s.heads, s.length, s.rotated + s.plain}, normal());
  op.input("dv", dtype, {s.batch, s.heads, s.length, s.value}, normal());
  op.output("dup", dtype, up_shape(s), exact());
  op.output("dshared", dtype, {s.length, s.batch, s.rotated}, sum_rounding(dtype, s.heads));
  op.run = [](const Stream& stream, const OpTensors& t) {
    join_latent_keys_backward(stream, {t["dk"], t["dv"], t["dup"], t["dshared"]});
  };
  checked.reference = [s](OpValues& v) {
    ref::visit_latent_keys(s, v.data("dup"), v.data("dshared"), v.data("dk"), v.data("dv"),
                           [](double& gradient, double& head) { gradient += head; });
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  const ref::LatentShape shapes[] = {{1, 1, 1, 1, 2, 1}, {2, 3, 0, 4, 2, 5},     {2, 3, 5, 7, 4, 6},
                                     {1, 2, 9, 0, 4, 3}, {2, 8, 40, 32, 16, 24}, {1, 4, 33, 17, 18, 33}};
  std::vector<CheckedCase> out;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const ref::LatentShape& s : shapes) {
      out.push_back(query_case(dtype, s, false));
      out.push_back(query_case(dtype, s, true));
      out.push_back(keys_case(dtype, s));
      out.push_back(keys_backward_case(dtype, s));
    }
  }
  return out;
}

std::vector<GradientCase> gradients() {
  const ref::LatentShape s{2, 3, 4, 3, 2, 5};
  const int64_t tokens = s.batch * s.length;
  GradientCase keys;
  keys.name = "keys";
  keys.inputs = {{"up", tokens * s.heads * (s.plain + s.value), normal()}, {"shared", tokens * s.rotated, normal()}};
  keys.outputs = {{"k", tokens * s.heads * (s.plain + s.rotated)}, {"v", tokens * s.heads * s.value}};
  keys.forward = [s](OpValues& v) {
    ref::visit_latent_keys(s, v.data("up"), v.data("shared"), v.data("k"), v.data("v"),
                           [](double& from, double& head) { head = from; });
  };
  keys.backward = [s](OpValues& v) {
    ref::visit_latent_keys(s, v.data("dup"), v.data("dshared"), v.data("dk"), v.data("dv"),
                           [](double& gradient, double& head) { gradient += head; });
  };
  return {keys};
}

INSTANTIATE_TEST_SUITE_P(LatentHeads, OpCheck, ::testing::ValuesIn(checks()), case_name);
INSTANTIATE_TEST_SUITE_P(LatentHeads, GradientCheck, ::testing::ValuesIn(gradients()), gradient_name);

TEST(LatentHeads, RotatedElementsComeFirst) {
  // Two plain elements, one rotated; one head, one token.
  std::vector<double> fused = {1, 2, 3}, q(3), up = {1, 2, 9}, shared = {3}, k(3), v(1);
  const ref::LatentShape s{1, 1, 1, 2, 1, 1};
  ref::visit_latent_query<double>(s, fused.data(), q.data(), [](double& from, double& head) { head = from; });
  ref::visit_latent_keys<double>(s, up.data(), shared.data(), k.data(), v.data(),
                                 [](double& from, double& head) { head = from; });
  EXPECT_EQ(q, (std::vector<double>{3, 1, 2}));
  EXPECT_EQ(k, q);
  EXPECT_EQ(v, (std::vector<double>{9}));
}

}  // namespace
}  // namespace conclave::kernels

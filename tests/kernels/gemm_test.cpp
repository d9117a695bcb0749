#include "kernels/gemm.h"

#include "kernels/op_check.h"
#include "kernels/ref/gemm.h"

namespace conclave::kernels {
namespace {

struct Types {
  DType in, out;
};

struct GemmKind {
  Types types;
  Transpose a = Transpose::kNo, b = Transpose::kNo;
  Accumulate accumulate = Accumulate::kOverwrite;
  bool bias = false;
};

CheckedCase gemm_case(const GemmKind& kind, int64_t m, int64_t n, int64_t k) {
  CheckedCase checked;
  OpCase& op = checked.op;
  const bool ta = kind.a == Transpose::kYes, tb = kind.b == Transpose::kYes, add = kind.accumulate == Accumulate::kAdd;
  op.name = fmt::format("{}_{}_{}{}_{}x{}x{}{}{}", dtype_name(kind.types.in), dtype_name(kind.types.out),
                        ta ? "t" : "n", tb ? "t" : "n", m, n, k, add ? "_add" : "", kind.bias ? "_bias" : "");
  op.input("a", kind.types.in, ta ? Shape{k, m} : Shape{m, k}, normal());
  op.input("b", kind.types.in, tb ? Shape{n, k} : Shape{k, n}, normal());
  if (kind.bias) op.input("bias", kind.types.in, {n}, normal());
  const Tolerance tolerance = sum_rounding(kind.types.out, k + 2);
  if (add) {
    op.in_out("c", kind.types.out, {m, n}, normal(), tolerance);
  } else {
    op.output("c", kind.types.out, {m, n}, tolerance);
  }
  op.run = [kind](const Stream& stream, const OpTensors& t) {
    gemm(stream, {.a = t["a"],
                  .b = t["b"],
                  .c = t["c"],
                  .transpose_a = kind.a,
                  .transpose_b = kind.b,
                  .accumulate = kind.accumulate,
                  .bias = t.optional("bias")});
  };
  checked.reference = [=](OpValues& v) {
    ref::gemm<double>({m, n, k, ta, tb, add}, v.data("a"), v.data("b"), v.data("bias"), v.data("c"));
  };
  return checked;
}

std::vector<CheckedCase> gemm_checks() {
  constexpr Types kTypes[] = {{DType::kF32, DType::kF32},
                              {DType::kBF16, DType::kBF16},
                              {DType::kBF16, DType::kF32},
                              {DType::kF64, DType::kF64}};
  constexpr Transpose kTransposes[] = {Transpose::kNo, Transpose::kYes};
  std::vector<CheckedCase> out;
  for (const Types types : kTypes) {
    for (const Transpose a : kTransposes) {
      for (const Transpose b : kTransposes) {
        for (const Accumulate accumulate : {Accumulate::kOverwrite, Accumulate::kAdd}) {
          out.push_back(gemm_case({types, a, b, accumulate}, 37, 29, 53));
          out.push_back(gemm_case({types, a, b, accumulate, true}, 5, 17, 3));
        }
        out.push_back(gemm_case({types, a, b}, 1, 1, 1));
        out.push_back(gemm_case({types, a, b}, 65, 130, 257));
      }
    }
    for (const Accumulate accumulate : {Accumulate::kOverwrite, Accumulate::kAdd}) {
      out.push_back(gemm_case({types, Transpose::kNo, Transpose::kYes, accumulate, true}, 4, 3, 0));
      out.push_back(gemm_case({types, Transpose::kNo, Transpose::kYes, accumulate}, 3, 4, 0));
    }
    // Long sums, more rows and columns than a block has, none a multiple of anything.
    out.push_back(gemm_case({types, Transpose::kNo, Transpose::kYes, Accumulate::kAdd, true}, 33, 101, 2051));
    out.push_back(gemm_case({types, Transpose::kNo, Transpose::kNo, Accumulate::kOverwrite, true}, 23, 79, 1025));
    out.push_back(gemm_case({types, Transpose::kYes, Transpose::kNo, Accumulate::kAdd}, 277, 70, 1041));
    out.push_back(gemm_case({types, Transpose::kNo, Transpose::kYes}, 1037, 17, 5));
    out.push_back(gemm_case({types, Transpose::kYes}, 18, 1091, 7));
    out.push_back(gemm_case({types}, 0, 3, 4));
    out.push_back(gemm_case({types}, 3, 0, 4));
    out.push_back(gemm_case({types, Transpose::kNo, Transpose::kYes}, 1, 300, 64));
    out.push_back(gemm_case({types, Transpose::kYes, Transpose::kNo, Accumulate::kAdd}, 96, 64, 300));
    // Sizes that every matrix unit takes.
    for (const bool bias : {false, true})
      for (const Accumulate accumulate : {Accumulate::kOverwrite, Accumulate::kAdd})
        out.push_back(gemm_case({types, Transpose::kNo, Transpose::kYes, accumulate, bias}, 256, 192, 640));
  }
  return out;
}

GradientCase gemm_gradient(bool bias) {
  constexpr int64_t kM = 4, kN = 3, kK = 5;
  GradientCase gradient;
  gradient.name = bias ? "linear_with_bias" : "linear";
  gradient.inputs = {{"x", kM * kK, normal()}, {"w", kN * kK, normal()}};
  if (bias) gradient.inputs.push_back({"bias", kN, normal()});
  gradient.outputs = {{"y", kM * kN}};
  gradient.forward = [](OpValues& v) {
    ref::gemm<double>({kM, kN, kK, false, true, false}, v.data("x"), v.data("w"), v.data("bias"), v.data("y"));
  };
  gradient.backward = [bias](OpValues& v) {
    ref::gemm<double>({kM, kK, kN, false, false, false}, v.data("dy"), v.data("w"), nullptr, v.data("dx"));
    ref::gemm<double>({kN, kK, kM, true, false, true}, v.data("dy"), v.data("x"), nullptr, v.data("dw"));
    for (size_t i = 0; bias && i < kM * kN; ++i) v["dbias"][i % kN] += v["dy"][i];
  };
  return gradient;
}

INSTANTIATE_TEST_SUITE_P(Gemm, OpCheck, ::testing::ValuesIn(gemm_checks()), case_name);
INSTANTIATE_TEST_SUITE_P(Gemm, GradientCheck, ::testing::Values(gemm_gradient(false), gemm_gradient(true)),
                         gradient_name);

std::string refusal(const GemmArgs& args, Device& device) {
  try {
    gemm(device.default_stream(), args);
  } catch (const InternalError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Gemm, RefusesWhatDoesNotFitAndSaysWhatItGot) {
  const auto device = make_device("sim");
  const auto make = [&](Shape shape, DType dtype) {
    return Tensor::empty(*device, shape, dtype, {MemoryCategory::kActivations, "test"});
  };
  const Tensor a = make({3, 4}, DType::kF32), b = make({4, 5}, DType::kF32), c = make({3, 5}, DType::kF32);
  EXPECT_EQ(refusal({.a = a, .b = b, .c = c, .bias = {}}, *device), "accepted");
  const std::string sizes = refusal({.a = a, .b = b, .c = make({3, 4}, DType::kF32), .bias = {}}, *device);
  EXPECT_NE(sizes.find("a f32 [3, 4], b f32 [4, 5], c f32 [3, 4]"), std::string::npos) << sizes;
  const std::string dtypes = refusal({.a = a, .b = b, .c = make({3, 5}, DType::kBF16), .bias = {}}, *device);
  EXPECT_NE(dtypes.find("got f32,f32->bf16"), std::string::npos) << dtypes;
  const std::string bias = refusal({.a = a, .b = b, .c = c, .bias = make({4}, DType::kF32)}, *device);
  EXPECT_NE(bias.find("bias must be f32 [5]; got f32 [4]"), std::string::npos) << bias;
  EXPECT_NE(refusal({.a = a, .b = {}, .c = c, .bias = {}}, *device).find("nothing"), std::string::npos);
}

TEST(Gemm, CostCountsMultiplyAndAdd) {
  const auto device = make_device("sim");
  const auto make = [&](Shape shape) {
    return Tensor::empty(*device, shape, DType::kF32, {MemoryCategory::kActivations, "test"});
  };
  GemmArgs args{.a = make({4, 3}), .b = make({4, 5}), .c = make({3, 5}), .transpose_a = Transpose::kYes, .bias = {}};
  EXPECT_EQ(gemm_cost(args).flops, 2 * 3 * 5 * 4);
  EXPECT_EQ(gemm_cost(args).bytes, 4 * (12 + 20 + 15));
  args.accumulate = Accumulate::kAdd;
  EXPECT_EQ(gemm_cost(args).bytes, 4 * (12 + 20 + 30));
}

TEST(Gemm, MakesOnePrimitivePerShape) {
  const auto device = make_device("cpu");
  const auto make = [&](Shape shape) {
    const Tensor tensor = Tensor::empty(*device, shape, DType::kF32, {MemoryCategory::kActivations, "test"});
    write_values(tensor, std::vector<double>(static_cast<size_t>(tensor.element_count()), 1.0));
    return tensor;
  };
  const Tensor x = make({11, 2, 13}), w = make({7, 13}), y = make({11, 2, 7}), dw = make({7, 13});
  const auto step = [&] {
    linear_forward(device->default_stream(), x, w, {}, y);
    linear_input_gradient(device->default_stream(), y, w, x);
    linear_weight_gradient(device->default_stream(), y, x, dw);
  };
  const int64_t before = gemm_primitives_created();
  step();
  EXPECT_EQ(gemm_primitives_created(), before + 3);
  step();
  EXPECT_EQ(gemm_primitives_created(), before + 3);
}

}  // namespace
}  // namespace conclave::kernels

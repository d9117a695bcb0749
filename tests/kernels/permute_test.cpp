#include "kernels/permute.h"

#include <utility>

#include "base/philox.h"
#include "kernels/op_check.h"
#include "kernels/ref/permute.h"

namespace conclave::kernels {
namespace {

// A routing in which every token chooses different experts; each choice is dropped (-1) with chance `dropped`.
Fill routing(int64_t tokens, int64_t topk, int64_t experts, double dropped) {
  return [=](int64_t, std::string_view seed) {
    const RandomStream source(3, seed);
    std::vector<double> out;
    uint64_t draw = 0;
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<int64_t> order(static_cast<size_t>(experts));
      for (size_t e = 0; e < order.size(); ++e) order[e] = static_cast<int64_t>(e);
      for (size_t k = 0; k < static_cast<size_t>(topk); ++k) {
        std::swap(order[k], order[k + source.bits(draw++) % (order.size() - k)]);
        out.push_back(source.uniform(draw++) < static_cast<float>(dropped) ? -1.0 : static_cast<double>(order[k]));
      }
    }
    return out;
  };
}

// Indices in [-1, limit).
Fill indices(int64_t limit) { return integers(-1, limit); }

struct PlanSetting {
  int64_t tokens = 1, topk = 1, experts = 1;
  double dropped = 0;
  int64_t capacity = 0, spare_rows = 0;
};

CheckedCase plan_case(const PlanSetting& s) {
  const int64_t rows = (s.capacity > 0 ? s.experts * s.capacity : s.tokens * s.topk) + s.spare_rows;
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("plan_{}x{}of{}_capacity{}_spare{}{}", s.tokens, s.topk, s.experts, s.capacity, s.spare_rows,
                        s.dropped > 0 ? "_dropped" : "");
  op.input("experts", DType::kI32, {s.tokens, s.topk}, routing(s.tokens, s.topk, s.experts, s.dropped));
  op.output("counts", DType::kI64, {s.experts}, exact()).output("offsets", DType::kI64, {s.experts + 1}, exact());
  op.output("row_token", DType::kI32, {rows}, exact()).output("row_slot", DType::kI32, {rows}, exact());
  op.output("slot_row", DType::kI32, {s.tokens, s.topk}, exact());
  op.run = [s](const Stream& stream, const OpTensors& t) {
    permutation_plan(stream, {t["experts"], s.experts, s.capacity, t["counts"], t["offsets"], t["row_token"],
                              t["row_slot"], t["slot_row"]});
  };
  checked.reference = [s, rows](OpValues& v) {
    ref::permutation_plan<double>({s.tokens, s.topk, s.experts, s.capacity, rows, v.data("experts"), v.data("counts"),
                                   v.data("offsets"), v.data("row_token"), v.data("row_slot"), v.data("slot_row")});
  };
  return checked;
}

CheckedCase gather_case(DType dtype, int64_t tokens, int64_t rows, int64_t width) {
  CheckedCase checked;
  checked.op.name = fmt::format("gather_{}_{}to{}x{}", dtype_name(dtype), tokens, rows, width);
  checked.op.input("x", dtype, {tokens, width}, dtype == DType::kU8 ? integers(0, 256) : normal())
      .input("row_token", DType::kI32, {rows}, indices(tokens));
  checked.op.output("out", dtype, {rows, width}, exact());
  checked.op.run = [](const Stream& stream, const OpTensors& t) {
    gather_rows(stream, {t["x"], t["row_token"], t["out"]});
  };
  checked.reference = [=](OpValues& v) {
    ref::gather_rows(v.data("x"), v.data("row_token"), v.data("out"), rows, width);
  };
  return checked;
}

struct CombineSetting {
  DType dtype = DType::kF32;
  int64_t tokens = 1, topk = 1, rows = 1, width = 1;
  bool weighted = true;
  Accumulate accumulate = Accumulate::kOverwrite;
};

CheckedCase combine_case(const CombineSetting& s) {
  const bool add = s.accumulate == Accumulate::kAdd;
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("combine_{}_{}x{}from{}x{}{}{}", dtype_name(s.dtype), s.tokens, s.topk, s.rows, s.width,
                        s.weighted ? "" : "_plain", add ? "_add" : "");
  op.input("rows", s.dtype, {s.rows, s.width}, normal());
  op.input("slot_row", DType::kI32, {s.tokens, s.topk}, indices(s.rows));
  if (s.weighted) op.input("weight", DType::kF32, {s.tokens, s.topk}, uniform(-1, 1));
  const Tolerance tolerance = sum_rounding(s.dtype, s.topk + 1);
  add ? op.in_out("out", s.dtype, {s.tokens, s.width}, normal(), tolerance)
      : op.output("out", s.dtype, {s.tokens, s.width}, tolerance);
  op.run = [s](const Stream& stream, const OpTensors& t) {
    combine_rows(stream, {t["rows"], t["slot_row"], t.optional("weight"), t["out"], s.accumulate});
  };
  checked.reference = [s](OpValues& v) {
    ref::combine_rows<double, double>(
        {s.tokens, s.topk, s.width, v.data("rows"), v.data("slot_row"), v.data("weight"), v.data("out")});
  };
  return checked;
}

CheckedCase slots_case(bool scatter, DType values_dtype, int64_t tokens, int64_t topk, int64_t rows) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name =
      fmt::format("{}_slots_{}_{}x{}_{}", scatter ? "scatter" : "gather", dtype_name(values_dtype), tokens, topk, rows);
  if (scatter) {
    op.input("rows", DType::kF32, {rows}, normal());
    op.input("slot_row", DType::kI32, {tokens, topk}, indices(rows));
    op.output("values", values_dtype, {tokens, topk}, exact());
  } else {
    op.input("values", values_dtype, {tokens, topk}, normal());
    op.input("row_slot", DType::kI32, {rows}, indices(tokens * topk));
    op.output("out", DType::kF32, {rows}, rounding(DType::kF32, 1, 0));
  }
  op.run = [scatter](const Stream& stream, const OpTensors& t) {
    scatter ? scatter_slots(stream, {t["rows"], t["slot_row"], t["values"]})
            : gather_slots(stream, {t["values"], t["row_slot"], t["out"]});
  };
  checked.reference = [=](OpValues& v) {
    scatter ? ref::pick(v.data("rows"), v.data("slot_row"), v.data("values"), tokens * topk)
            : ref::pick(v.data("values"), v.data("row_slot"), v.data("out"), rows);
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const PlanSetting& s : std::initializer_list<PlanSetting>{{0, 2, 4},
                                                                 {1, 1, 1},
                                                                 {5, 2, 3, 0.3},
                                                                 {33, 8, 64},  // many experts have no token
                                                                 {300, 2, 16, 0.1},
                                                                 {7, 2, 4, 1.0},  // all dropped
                                                                 {9, 2, 4, 0.4, 9},
                                                                 {9, 1, 3, 0, 12, 5},
                                                                 {9, 2, 4, 0.2, 0, 3}}) {
    out.push_back(plan_case(s));
  }
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    out.push_back(gather_case(dtype, 3, 0, 8));
    out.push_back(gather_case(dtype, 1, 1, 1));
    out.push_back(gather_case(dtype, 5, 11, 37));
    out.push_back(gather_case(dtype, 100, 200, 256));
    out.push_back(combine_case({dtype, 0, 2, 3, 8}));
    out.push_back(combine_case({dtype, 1, 1, 1, 1}));
    out.push_back(combine_case({dtype, 5, 3, 11, 37}));
    out.push_back(combine_case({dtype, 5, 3, 11, 37, false, Accumulate::kAdd}));
    out.push_back(combine_case({dtype, 5, 3, 11, 37, true, Accumulate::kAdd}));
    out.push_back(combine_case({dtype, 100, 2, 200, 256, false}));
  }
  for (const DType dtype : {DType::kU8, DType::kF64, DType::kI32}) out.push_back(gather_case(dtype, 5, 11, 37));
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    for (const bool scatter : {false, true}) {
      out.push_back(slots_case(scatter, dtype, 13, 2, 0));
      out.push_back(slots_case(scatter, dtype, 13, 2, 19));
    }
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Permute, OpCheck, ::testing::ValuesIn(checks()), case_name);

GradientCase gradient_case() {
  GradientCase gradient;
  gradient.name = "combine";
  gradient.inputs = {{"rows", 5 * 3, normal()}};
  gradient.outputs = {{"out", 4 * 3}};
  static const std::vector<int32_t> slot_row = {0, 3, 2, -1, 4, 1, -1, -1}, row_token = {0, 2, 1, 0, 2};
  gradient.forward = [](OpValues& v) {
    ref::combine_rows<double, int32_t>({4, 2, 3, v.data("rows"), slot_row.data(), nullptr, v.data("out")});
  };
  // The gradient of a combination without weights is the gathering by the plan's other half.
  gradient.backward = [](OpValues& v) { ref::gather_rows(v.data("dout"), row_token.data(), v.data("drows"), 5, 3); };
  return gradient;
}
INSTANTIATE_TEST_SUITE_P(Permute, GradientCheck, ::testing::Values(gradient_case()), gradient_name);

class PermuteErrors : public ::testing::Test {
 protected:
  std::unique_ptr<Device> device_ = make_device("cpu");
  Tensor i32(std::vector<int32_t> list, Shape shape) { return from_host<int32_t>(*device_, shape, list, {}); }
  Tensor empty(Shape shape, DType dtype) { return Tensor::empty(*device_, shape, dtype, {}); }
  template <typename Body>
  std::string error_of(Body body) {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  std::string plan_error(std::vector<int32_t> experts, int64_t capacity) {
    const int64_t rows = capacity > 0 ? 2 * capacity : 4;
    return error_of([&] {
      permutation_plan(device_->default_stream(),
                       {i32(std::move(experts), {2, 2}), 2, capacity, empty({2}, DType::kI64), empty({3}, DType::kI64),
                        empty({rows}, DType::kI32), empty({rows}, DType::kI32), empty({2, 2}, DType::kI32)});
    });
  }
};

TEST_F(PermuteErrors, ExpertsOutOfRangeAreTheUsersFault) {
  EXPECT_NE(plan_error({0, 1, 2, 0}, 0).find("token 1 chooses expert 2, but there are experts 0 to 1 only"),
            std::string::npos);
  EXPECT_NE(plan_error({0, -2, 1, 0}, 0).find("token 0 chooses expert -2"), std::string::npos);
  EXPECT_EQ(plan_error({0, 1, -1, 0}, 0), "no error");
}

TEST_F(PermuteErrors, MoreChoicesThanCapacity) {
  EXPECT_NE(plan_error({0, 1, 1, -1}, 1).find("expert 1 has 2 choices, more than its capacity of 1"),
            std::string::npos);
}

TEST_F(PermuteErrors, IndicesOutOfRangeReadNothing) {
  for (const int32_t bad : {-2, 3, 1 << 30}) {
    const std::string text = error_of([&] {
      gather_rows(device_->default_stream(),
                  {empty({3, 4}, DType::kF32), i32({0, bad}, {2}), empty({2, 4}, DType::kF32)});
    });
    EXPECT_NE(text.find("[kernels/gather_rows] row_token holds values from"), std::string::npos) << text;
    const std::string combined = error_of([&] {
      combine_rows(device_->default_stream(),
                   {empty({3, 4}, DType::kF32), i32({0, bad}, {1, 2}), {}, empty({1, 4}, DType::kF32)});
    });
    EXPECT_NE(combined.find("[kernels/combine_rows] slot_row holds values from"), std::string::npos) << combined;
  }
}

}  // namespace
}  // namespace conclave::kernels

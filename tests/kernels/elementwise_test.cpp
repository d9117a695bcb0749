#include "kernels/elementwise.h"

#include <cmath>
#include <limits>

#include "kernels/op_check.h"
#include "kernels/ref/elementwise.h"

namespace conclave::kernels {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr DType kFloats[] = {DType::kF32, DType::kBF16, DType::kF64};
constexpr DType kTwoFloats[] = {DType::kF32, DType::kBF16};
constexpr Accumulate kAccumulates[] = {Accumulate::kOverwrite, Accumulate::kAdd};

/// One rounding to the dtype, and what f32 arithmetic loses on values of size `scale` before it.
Tolerance one_rounding(DType dtype, double scale = 4) {
  const double inner = dtype == DType::kF64 ? 0x1p-53 : 0x1p-24;
  return {rounding(dtype, 1.01).relative + 4 * inner, 2 * inner * scale};
}

CheckedCase fill_case(DType dtype, double value, int64_t count) {
  CheckedCase checked;
  checked.op.name = fmt::format("fill_{}_{}", dtype_name(dtype), count);
  checked.op.output("x", dtype, {count}, rounding(dtype, 1.01, 0));
  checked.op.run = [value](const Stream& stream, const OpTensors& t) { fill(stream, {.x = t["x"], .value = value}); };
  checked.reference = [value](OpValues& v) { std::fill(v["x"].begin(), v["x"].end(), value); };
  return checked;
}

CheckedCase cast_case(DType from, DType to, Fill values, int64_t count) {
  CheckedCase checked;
  checked.op.name = fmt::format("cast_{}_{}_{}", dtype_name(from), dtype_name(to), count);
  const double ulps = from == DType::kF64 && to == DType::kBF16 ? 1.02 : 1;  // two roundings
  checked.op.input("x", from, {count}, std::move(values)).output("y", to, {1, count}, rounding(to, ulps, 0));
  checked.op.run = [](const Stream& stream, const OpTensors& t) { cast(stream, {.x = t["x"], .y = t["y"]}); };
  checked.reference = [](OpValues& v) { v["y"] = v["x"]; };
  return checked;
}

CheckedCase scale_case(DType dtype, Accumulate accumulate, bool device_scale, int64_t count) {
  CheckedCase checked;
  const bool add = accumulate == Accumulate::kAdd;
  checked.op.name =
      fmt::format("scale_{}_{}{}{}", dtype_name(dtype), count, add ? "_add" : "", device_scale ? "_device" : "");
  checked.op.input("x", dtype, {count}, normal());
  if (device_scale) checked.op.input("device_scale", DType::kF32, {1}, constant(0.75));
  add ? checked.op.in_out("y", dtype, {count}, normal(), one_rounding(dtype))
      : checked.op.output("y", dtype, {count}, one_rounding(dtype));
  checked.op.run = [accumulate](const Stream& stream, const OpTensors& t) {
    scale(stream, {.x = t["x"],
                   .y = t["y"],
                   .scale = -1.7,
                   .device_scale = t.optional("device_scale"),
                   .accumulate = accumulate});
  };
  checked.reference = [=](OpValues& v) {
    ref::scale(v.data("x"), count, device_scale ? -1.7 * 0.75 : -1.7, add, v.data("y"));
  };
  return checked;
}

CheckedCase column_sum_case(DType dtype, int64_t rows, int64_t columns) {
  CheckedCase checked;
  checked.op.name = fmt::format("column_sum_{}_{}x{}", dtype_name(dtype), rows, columns);
  checked.op.input("x", dtype, {rows, columns}, normal());
  checked.op.in_out("out", DType::kF32, {columns}, normal(),
                    {1e-6, 0x1p-24 * 4 * std::sqrt(static_cast<double>(rows))});
  checked.op.run = [](const Stream& stream, const OpTensors& t) { column_sum(stream, {.x = t["x"], .out = t["out"]}); };
  checked.reference = [=](OpValues& v) { ref::column_sum(v.data("x"), rows, columns, v.data("out")); };
  return checked;
}

CheckedCase row_gate_case(DType dtype, int64_t rows, int64_t width) {
  CheckedCase checked;
  checked.op.name = fmt::format("row_gate_forward_{}_{}x{}", dtype_name(dtype), rows, width);
  checked.op.input("value", dtype, {rows, width}, normal()).input("gate", DType::kF32, {rows}, normal(0, 3));
  checked.op.output("y", dtype, {rows, width}, one_rounding(dtype));
  checked.op.run = [](const Stream& stream, const OpTensors& t) {
    row_gate_forward(stream, {.value = t["value"], .gate = t["gate"], .y = t["y"]});
  };
  checked.reference = [=](OpValues& v) {
    ref::row_gate_forward(v.data("value"), v.data("gate"), rows, width, v.data("y"));
  };
  return checked;
}

CheckedCase row_gate_backward_case(DType dtype, int64_t rows, int64_t width) {
  CheckedCase checked;
  checked.op.name = fmt::format("row_gate_backward_{}_{}x{}", dtype_name(dtype), rows, width);
  checked.op.input("dy", dtype, {rows, width}, normal()).input("value", dtype, {rows, width}, normal());
  checked.op.input("gate", DType::kF32, {rows}, normal(0, 3));
  checked.op.output("dvalue", dtype, {rows, width}, one_rounding(dtype));
  checked.op.output("dgate", DType::kF32, {rows}, sum_rounding(DType::kF32, width));
  checked.op.run = [](const Stream& stream, const OpTensors& t) {
    row_gate_backward(
        stream, {.dy = t["dy"], .value = t["value"], .gate = t["gate"], .dvalue = t["dvalue"], .dgate = t["dgate"]});
  };
  checked.reference = [=](OpValues& v) {
    ref::row_gate_backward<double>(v.data("dy"), v.data("value"), v.data("gate"), rows, width,
                                   {v.data("dvalue"), v.data("dgate")});
  };
  return checked;
}

std::vector<RandomStream> two_streams() { return {RandomStream(5, "jitter", 100), RandomStream(5, "jitter", 101)}; }

CheckedCase jitter_case(DType dtype, int64_t rows, int64_t width) {
  CheckedCase checked;
  constexpr float kEpsilon = 0.125f;
  constexpr int64_t kOffset = 3;
  checked.op.name = fmt::format("jitter_{}_{}x2x{}", dtype_name(dtype), rows, width);
  checked.op.input("x", dtype, {rows, 2, width}, normal());
  checked.op.output("y", dtype, {rows, 2, width}, one_rounding(dtype));
  checked.op.run = [](const Stream& stream, const OpTensors& t) {
    jitter(stream,
           {.x = t["x"], .y = t["y"], .epsilon = kEpsilon, .streams = two_streams(), .sequence_offset = kOffset});
  };
  checked.reference = [=](OpValues& v) {
    const std::vector<RandomStream> streams = two_streams();
    for (int64_t s = 0; s < rows; ++s) {
      for (int64_t b = 0; b < 2; ++b) {
        for (int64_t h = 0; h < width; ++h) {
          const auto at = static_cast<size_t>((s * 2 + b) * width + h);
          const auto element = static_cast<uint64_t>((s + kOffset) * width + h);
          const double u = static_cast<double>(streams[static_cast<size_t>(b)].uniform(element));
          v["y"][at] = v["x"][at] * (1 - kEpsilon + 2 * kEpsilon * u);
        }
      }
    }
  };
  return checked;
}

ShardSpec two_boxes() { return {{9, 7, 50}, {{{1, 2, 10}, {5, 3, 20}}, {{8, 0, 0}, {1, 7, 50}}}}; }

CheckedCase random_fill_case(RandomKind kind, const ShardSpec& shard, const std::string& name) {
  CheckedCase checked;
  checked.op.name = "random_fill_" + name;
  const int64_t count = shard.element_count();
  checked.op.output("x", DType::kF32, {count}, {1e-6, 1e-9});
  checked.op.run = [=](const Stream& stream, const OpTensors& t) {
    random_fill(stream, {.x = t["x"], .shard = shard, .kind = kind, .a = -0.5, .b = 0.02, .source = {7, "w"}});
  };
  checked.reference = [=](OpValues& v) {
    const RandomStream source(7, "w");
    for (int64_t i = 0; i < count; ++i) {
      const auto index = static_cast<uint64_t>(shard.global_index(i));
      v["x"][static_cast<size_t>(i)] = kind == RandomKind::kNormal
                                           ? -0.5 + 0.02 * static_cast<double>(source.normal(index))
                                           : -0.5 + 0.52 * static_cast<double>(source.uniform(index));
    }
  };
  return checked;
}

std::vector<CheckedCase> random_cases() {
  std::vector<CheckedCase> out;
  for (const RandomKind kind : {RandomKind::kNormal, RandomKind::kUniform}) {
    const std::string prefix = kind == RandomKind::kNormal ? "normal_" : "uniform_";
    out.push_back(random_fill_case(kind, ShardSpec::whole({0}), prefix + "nothing"));
    out.push_back(random_fill_case(kind, ShardSpec::whole({3, 41}), prefix + "odd"));
    out.push_back(random_fill_case(kind, ShardSpec::whole({150, 300}), prefix + "threaded"));
    out.push_back(random_fill_case(kind, two_boxes(), prefix + "two_boxes"));
  }
  return out;
}

CheckedCase statistic_case(DType dtype, int64_t count, double bad) {
  CheckedCase checked;
  checked.op.name = fmt::format("statistics_{}_{}{}", dtype_name(dtype), count, bad != 0 ? "_infinite" : "");
  checked.op.input("x", dtype, {count}, [bad](int64_t n, std::string_view seed) {
    std::vector<double> list = normal()(n, seed);
    if (bad != 0) list[static_cast<size_t>(n) / 2] = list.back() = bad;
    return list;
  });
  checked.op.output("most", DType::kF32, {1}, exact()).output("bad", DType::kI64, {1}, exact());
  checked.op.run = [](const Stream& stream, const OpTensors& t) {
    abs_max(stream, {.x = t["x"], .out = t["most"]});
    count_nonfinite(stream, {.x = t["x"], .count = t["bad"]});
  };
  checked.reference = [count](OpValues& v) {
    v["most"][0] = ref::abs_max(v.data("x"), count);
    v["bad"][0] = static_cast<double>(ref::count_nonfinite(v.data("x"), count));
  };
  return checked;
}

std::vector<CheckedCase> whole_tensor_checks() {
  std::vector<CheckedCase> out;
  for (const int64_t count : {0, 1, 37, 40001}) {
    for (const DType dtype : kFloats) {
      out.push_back(fill_case(dtype, -0.3, count));
      for (const DType to : kFloats) out.push_back(cast_case(dtype, to, normal(), count));
      for (const Accumulate accumulate : kAccumulates)
        for (const bool device_scale : {false, true}) out.push_back(scale_case(dtype, accumulate, device_scale, count));
    }
    for (const DType dtype : {DType::kI32, DType::kI64, DType::kU8}) {
      out.push_back(fill_case(dtype, 3, count));
      out.push_back(cast_case(dtype, dtype, integers(0, 200), count));
    }
    for (const DType dtype : kTwoFloats) {
      out.push_back(statistic_case(dtype, count, 0));
      if (count > 0) out.push_back(statistic_case(dtype, count, -kInfinity));
    }
  }
  return out;
}

std::vector<CheckedCase> row_checks() {
  std::vector<CheckedCase> out;
  for (const DType dtype : kTwoFloats) {
    for (const auto& [rows, width] : {std::pair<int64_t, int64_t>{0, 5}, {1, 1}, {3, 37}, {70, 16}, {300, 130}}) {
      out.push_back(column_sum_case(dtype, rows, width));
      out.push_back(row_gate_case(dtype, rows, width));
      out.push_back(row_gate_backward_case(dtype, rows, width));
      out.push_back(jitter_case(dtype, rows, width));
    }
  }
  return out;
}

GradientCase row_gate_gradient() {
  constexpr int64_t kRows = 3, kWidth = 4;
  GradientCase gradient;
  gradient.name = "row_gate";
  gradient.inputs = {{"value", kRows * kWidth, normal()}, {"gate", kRows, normal()}};
  gradient.outputs = {{"y", kRows * kWidth}};
  gradient.forward = [](OpValues& v) {
    ref::row_gate_forward(v.data("value"), v.data("gate"), kRows, kWidth, v.data("y"));
  };
  gradient.backward = [](OpValues& v) {
    ref::row_gate_backward<double>(v.data("dy"), v.data("value"), v.data("gate"), kRows, kWidth,
                                   {v.data("dvalue"), v.data("dgate")});
  };
  return gradient;
}

INSTANTIATE_TEST_SUITE_P(Elementwise, OpCheck, ::testing::ValuesIn(whole_tensor_checks()), case_name);
INSTANTIATE_TEST_SUITE_P(Rows, OpCheck, ::testing::ValuesIn(row_checks()), case_name);
INSTANTIATE_TEST_SUITE_P(Random, OpCheck, ::testing::ValuesIn(random_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Rows, GradientCheck, ::testing::Values(row_gate_gradient()), gradient_name);

constexpr MemoryTag kTag{MemoryCategory::kActivations, "test"};

TEST(Elementwise, NotANumberIsFoundWhereverItStands) {
  const auto device = make_device("cpu");
  for (const DType dtype : kTwoFloats) {
    for (const size_t at : {size_t{0}, size_t{17}, size_t{39999}}) {
      std::vector<double> list(40000, 2.0);
      list[at] = std::nan("");
      const Tensor x = Tensor::empty(*device, {40000}, dtype, kTag);
      const Tensor most = Tensor::empty(*device, {1}, DType::kF32, kTag),
                   bad = Tensor::empty(*device, {1}, DType::kI64, kTag);
      write_values(x, list);
      abs_max(device->default_stream(), {.x = x, .out = most});
      count_nonfinite(device->default_stream(), {.x = x, .count = bad});
      EXPECT_TRUE(std::isnan(*most.data<float>()));
      EXPECT_EQ(*bad.data<int64_t>(), 1);
    }
  }
}

TEST(Elementwise, ScaleWorksInPlace) {
  const auto device = make_device("cpu");
  const Tensor x = Tensor::empty(*device, {1001}, DType::kF32, kTag);
  write_values(x, std::vector<double>(1001, 3.0));
  scale(device->default_stream(), {.x = x, .y = x, .scale = 0.5});
  scale(device->default_stream(), {.x = x, .y = x, .scale = 2, .accumulate = Accumulate::kAdd});
  EXPECT_EQ(read_values(x), std::vector<double>(1001, 4.5));
}

TEST(RandomFill, AShardHoldsTheBitsOfTheWhole) {
  const auto device = make_device("cpu");
  const ShardSpec whole = ShardSpec::whole(two_boxes().global_shape), part = two_boxes();
  for (const RandomKind kind : {RandomKind::kNormal, RandomKind::kUniform}) {
    const Tensor all = Tensor::empty(*device, {whole.element_count()}, DType::kF32, kTag);
    const Tensor some = Tensor::empty(*device, {part.element_count()}, DType::kF32, kTag);
    random_fill(device->default_stream(), {.x = all, .shard = whole, .kind = kind, .b = 0.02, .source = {3, "w"}});
    random_fill(device->default_stream(), {.x = some, .shard = part, .kind = kind, .b = 0.02, .source = {3, "w"}});
    for (int64_t i = 0; i < part.element_count(); ++i)
      ASSERT_EQ(some.data<float>()[i], all.data<float>()[part.global_index(i)]) << i;
  }
}

}  // namespace
}  // namespace conclave::kernels

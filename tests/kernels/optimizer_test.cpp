#include "kernels/optimizer.h"

#include <cmath>
#include <limits>

#include "kernels/op_check.h"
#include "kernels/ref/optimizer.h"

namespace conclave::kernels {
namespace {

constexpr double kLr = 1e-3, kDecay = 0.1;

struct StepKind {
  bool compute = false, scaled = false;
  GradientAfter after = GradientAfter::kKeep;
  int64_t step = 1;
};

std::string name_of(const StepKind& kind, int64_t count) {
  return fmt::format("{}_step{}{}{}{}", count, kind.step, kind.compute ? "_compute" : "", kind.scaled ? "_scaled" : "",
                     kind.after == GradientAfter::kZero ? "_cleared" : "");
}

void add_step_buffers(OpCase& op, const StepKind& kind, int64_t count) {
  op.in_out("w", DType::kF32, {count}, normal(), rounding(DType::kF32, 4));
  if (kind.after == GradientAfter::kZero) {
    op.in_out("g", DType::kF32, {count}, normal(), exact());
  } else {
    op.input("g", DType::kF32, {count}, normal());
  }
  if (kind.compute) op.output("compute", DType::kBF16, {count}, rounding(DType::kBF16, 1.01, 0));
  if (kind.scaled) op.input("grad_scale", DType::kF32, {1}, constant(0.37));
}

void finish_reference(OpValues& v, const StepKind& kind) {
  if (kind.compute) v["compute"] = v["w"];
  if (kind.after == GradientAfter::kZero) std::fill(v["g"].begin(), v["g"].end(), 0.0);
}

CheckedCase adamw_case(const StepKind& kind, int64_t count) {
  CheckedCase checked;
  checked.op.name = "adamw_" + name_of(kind, count);
  add_step_buffers(checked.op, kind, count);
  checked.op.in_out("m", DType::kF32, {count}, normal(0, 0.1), rounding(DType::kF32, 4));
  checked.op.in_out("v", DType::kF32, {count}, uniform(0, 0.1), rounding(DType::kF32, 4));
  checked.op.run = [kind](const Stream& stream, const OpTensors& t) {
    adamw(stream, {.weight = t["w"],
                   .gradient = t["g"],
                   .exp_avg = t["m"],
                   .exp_avg_sq = t["v"],
                   .compute = t.optional("compute"),
                   .lr = kLr,
                   .weight_decay = kDecay,
                   .step = kind.step,
                   .grad_scale = t.optional("grad_scale"),
                   .gradient_after = kind.after});
  };
  checked.reference = [kind](OpValues& v) {
    const double scale = v.has("grad_scale") ? v["grad_scale"][0] : 1;
    const ref::Adam<double> adam{kLr, 0.9, 0.999, 1e-8, kDecay, scale, kind.step};
    for (size_t i = 0; i < v["w"].size(); ++i) adam.update(v["g"][i], v["w"][i], v["m"][i], v["v"][i]);
    finish_reference(v, kind);
  };
  return checked;
}

CheckedCase sgd_case(const StepKind& kind, double momentum, int64_t count) {
  CheckedCase checked;
  checked.op.name = fmt::format("sgd_{}{}", name_of(kind, count), momentum != 0 ? "_momentum" : "");
  add_step_buffers(checked.op, kind, count);
  if (momentum != 0) checked.op.in_out("m", DType::kF32, {count}, normal(), rounding(DType::kF32, 4));
  checked.op.run = [kind, momentum](const Stream& stream, const OpTensors& t) {
    sgd(stream, {.weight = t["w"],
                 .gradient = t["g"],
                 .momentum_buffer = t.optional("m"),
                 .compute = t.optional("compute"),
                 .lr = kLr,
                 .momentum = momentum,
                 .weight_decay = kDecay,
                 .step = kind.step,
                 .grad_scale = t.optional("grad_scale"),
                 .gradient_after = kind.after});
  };
  checked.reference = [kind, momentum](OpValues& v) {
    const double scale = v.has("grad_scale") ? v["grad_scale"][0] : 1;
    const ref::Sgd<double> rule{kLr, momentum, kDecay, scale, kind.step};
    for (size_t i = 0; i < v["w"].size(); ++i) {
      double without = 0;
      rule.update(v["g"][i], v["w"][i], v.has("m") ? v["m"][i] : without);
    }
    finish_reference(v, kind);
  };
  return checked;
}

CheckedCase square_sum_case(DType dtype, Accumulate accumulate, int64_t count) {
  CheckedCase checked;
  const bool add = accumulate == Accumulate::kAdd;
  checked.op.name = fmt::format("square_sum_{}_{}{}", dtype_name(dtype), count, add ? "_add" : "");
  checked.op.input("x", dtype, {count}, normal());
  const Tolerance tolerance{1e-13, 1e-13};
  add ? checked.op.in_out("out", DType::kF64, {1}, constant(3.5), tolerance)
      : checked.op.output("out", DType::kF64, {1}, tolerance);
  checked.op.run = [accumulate](const Stream& stream, const OpTensors& t) {
    square_sum(stream, {.x = t["x"], .out = t["out"], .accumulate = accumulate});
  };
  checked.reference = [count](OpValues& v) { v["out"][0] += ref::square_sum(v.data("x"), count); };
  return checked;
}

CheckedCase count_zeros_case(DType dtype, Accumulate accumulate, int64_t count) {
  CheckedCase checked;
  const bool add = accumulate == Accumulate::kAdd;
  checked.op.name = fmt::format("count_zeros_{}_{}{}", dtype_name(dtype), count, add ? "_add" : "");
  checked.op.input("x", dtype, {count}, integers(-2, 3));
  add ? checked.op.in_out("out", DType::kI64, {1}, constant(7), exact())
      : checked.op.output("out", DType::kI64, {1}, exact());
  checked.op.run = [accumulate](const Stream& stream, const OpTensors& t) {
    count_zeros(stream, {.x = t["x"], .out = t["out"], .accumulate = accumulate});
  };
  checked.reference = [count](OpValues& v) {
    v["out"][0] += static_cast<double>(ref::count_zeros(v.data("x"), count));
  };
  return checked;
}

CheckedCase clip_case(double square_sum, double max_norm, const std::string& name) {
  CheckedCase checked;
  checked.op.name = "clip_scale_" + name;
  checked.op.input("square_sum", DType::kF64, {1}, constant(square_sum));
  checked.op.output("norm", DType::kF32, {1}, rounding(DType::kF32, 2, 0));
  checked.op.output("scale", DType::kF32, {1}, rounding(DType::kF32, 2, 0));
  checked.op.run = [max_norm](const Stream& stream, const OpTensors& t) {
    clip_scale(stream, {.square_sum = t["square_sum"], .norm = t["norm"], .scale = t["scale"], .max_norm = max_norm});
  };
  checked.reference = [max_norm](OpValues& v) {
    v["norm"][0] = std::sqrt(v["square_sum"][0]);
    v["scale"][0] = ref::clip_scale(v["norm"][0], max_norm);
  };
  return checked;
}

std::vector<CheckedCase> optimizer_checks() {
  constexpr GradientAfter kZero = GradientAfter::kZero, kKeep = GradientAfter::kKeep;
  std::vector<CheckedCase> out;
  for (const int64_t count : {0, 1, 37, 40001}) {
    for (const StepKind& kind : {StepKind{}, StepKind{true, true, kZero, 5}, StepKind{false, true, kZero, 100000},
                                 StepKind{true, false, kKeep, 2}}) {
      out.push_back(adamw_case(kind, count));
      out.push_back(sgd_case(kind, 0, count));
      out.push_back(sgd_case(kind, 0.9, count));
    }
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const Accumulate accumulate : {Accumulate::kOverwrite, Accumulate::kAdd}) {
        out.push_back(square_sum_case(dtype, accumulate, count));
        out.push_back(count_zeros_case(dtype, accumulate, count));
      }
    }
  }
  out.push_back(clip_case(16, 1, "clips"));
  out.push_back(clip_case(0.25, 1, "leaves_small_norms"));
  out.push_back(clip_case(16, 0, "off"));
  out.push_back(clip_case(0, 1, "of_zero"));
  return out;
}

INSTANTIATE_TEST_SUITE_P(Optimizer, OpCheck, ::testing::ValuesIn(optimizer_checks()), case_name);

TEST(Optimizer, ANormThatIsNotANumberIsNotHidden) {
  const auto device = make_device("cpu");
  const MemoryTag tag{MemoryCategory::kActivations, "test"};
  const double bad = std::numeric_limits<double>::quiet_NaN();
  const Tensor sum = from_host<double>(*device, {1}, std::span<const double>(&bad, 1), tag);
  const Tensor norm = Tensor::empty(*device, {1}, DType::kF32, tag),
               scale = Tensor::empty(*device, {1}, DType::kF32, tag);
  clip_scale(device->default_stream(), {.square_sum = sum, .norm = norm, .scale = scale, .max_norm = 1});
  EXPECT_TRUE(std::isnan(*norm.data<float>()));
  EXPECT_TRUE(std::isnan(*scale.data<float>()));
}

}  // namespace
}  // namespace conclave::kernels

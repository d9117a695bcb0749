// The framework itself: it must fail on garbage, NaN, overruns, changed inputs, unsteady bits and wrong gradients.
#include "kernels/op_check.h"

#include <cmath>
#include <limits>

#include "device/cuda_device.h"

namespace conclave::kernels {
namespace {

using Toy = std::function<void(const float* x, float* y, int64_t count)>;

/// y = 2 x on five elements, computed by `toy`.
CheckedCase doubling(Toy toy) {
  CheckedCase checked;
  checked.op.name = "doubling";
  checked.op.input("x", DType::kF32, {1, 5}, normal()).output("y", DType::kF32, {1, 5}, rounding(DType::kF32));
  checked.op.run = [toy](const Stream&, const OpTensors& t) {
    toy(t["x"].data<float>(), t["y"].data<float>(), t["x"].element_count());
  };
  checked.reference = [](OpValues& v) {
    for (size_t i = 0; i < v["x"].size(); ++i) v["y"][i] = 2 * v["x"][i];
  };
  return checked;
}

void right(const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = 2 * x[i];
}

std::string failure(Toy toy) { return check_against_reference(doubling(toy), "; FILTER").value_or("passed"); }

TEST(OpCheckItself, PassesARightOp) { EXPECT_EQ(failure(right), "passed"); }

TEST(OpCheckItself, NamesTheFirstBadCoordinateAndTheFilter) {
  const std::string text = failure([](const float* x, float* y, int64_t count) {
    right(x, y, count);
    y[3] += 1e-3f;
  });
  EXPECT_NE(text.find("y[0, 3] = "), std::string::npos) << text;
  EXPECT_NE(text.find("1 of 5 elements are off"), std::string::npos) << text;
  EXPECT_NE(text.find("; FILTER"), std::string::npos) << text;
}

TEST(OpCheckItself, FailsOnOutputsLeftAsTheyWere) {
  EXPECT_NE(failure([](const float*, float*, int64_t) {}).find("y[0, 0] = nan"), std::string::npos);
}

TEST(OpCheckItself, FailsOnNaNAndInfinity) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::string text = failure([bad](const float* x, float* y, int64_t count) {
      right(x, y, count);
      y[count - 1] = bad;
    });
    EXPECT_NE(text.find("y[0, 4] = "), std::string::npos) << text;
  }
}

TEST(OpCheckItself, FailsOnNaNInTheReference) {
  CheckedCase checked = doubling(right);
  checked.reference = [](OpValues& v) { v["y"].assign(5, std::nan("")); };
  EXPECT_TRUE(check_against_reference(checked).has_value());
}

TEST(OpCheckItself, FailsOnOverruns) {
  const std::string after = failure([](const float* x, float* y, int64_t count) {
    right(x, y, count);
    y[count] = 0;
  });
  EXPECT_NE(after.find("outside the buffer was written, 0 elements after"), std::string::npos) << after;
  const std::string before = failure([](const float* x, float* y, int64_t count) {
    right(x, y, count);
    y[-1] = 0;
  });
  EXPECT_NE(before.find("outside the buffer was written, 1 elements before"), std::string::npos) << before;
}

TEST(OpCheckItself, FailsOnAChangedInput) {
  const std::string text = failure([](const float* x, float* y, int64_t count) {
    right(x, y, count);
    const_cast<float*>(x)[2] = 7;
  });
  EXPECT_NE(text.find("x: an input was changed"), std::string::npos) << text;
}

TEST(OpCheckItself, FailsOnOtherBitsInASecondRun) {
  const auto calls = std::make_shared<int>(0);
  const std::string text = failure([calls](const float* x, float* y, int64_t count) {
    right(x, y, count);
    if ((*calls)++ % 2 == 1) y[0] = std::nextafter(y[0], 100.0f);
  });
  EXPECT_NE(text.find("another run gave other bits"), std::string::npos) << text;
}

TEST(OpCheckItself, FailsOnlyOnUnalignedBuffersAndSaysSo) {
  const std::string text = failure([](const float* x, float* y, int64_t count) {
    right(x, y, count);
    if (reinterpret_cast<uintptr_t>(y) % 64 != 0) y[0] = 99;
  });
  EXPECT_NE(text.find("(unaligned buffers)"), std::string::npos) << text;
}

TEST(OpCheckItself, SupportFailsWithoutCostOrCudaAnswer) {
  CheckedCase checked = doubling(right);
  checked.op.run = [](const Stream&, const OpTensors&) {};
  EXPECT_NE(check_support(checked.op).value_or("passed").find("sim books no bytes"), std::string::npos);
  checked.op.run = [](const Stream& stream, const OpTensors&) { stream.device().ledger().add("toy", {1, 1}); };
  const std::string text = check_support(checked.op).value_or("passed");
  if (cuda_is_built_in()) {
    EXPECT_EQ(text, "passed");
  } else {
    EXPECT_NE(text.find("not there"), std::string::npos);
  }
  checked.op.run = [](const Stream& stream, const OpTensors&) {
    stream.device().ledger().add("toy", {1, 1});
    if (stream.device().kind() == DeviceKind::kCuda) throw_without_cuda("toy");
    if (stream.device().kind() == DeviceKind::kCpu)
      Tensor::empty(stream.device(), {64}, DType::kF32, {MemoryCategory::kWorkspace, "toy"});
  };
  EXPECT_NE(check_support(checked.op).value_or("passed").find("cpu takes 256 bytes of workspace and sim 0"),
            std::string::npos);
}

GradientCase cube(double factor) {
  GradientCase gradient;
  gradient.name = "cube";
  gradient.inputs = {{"x", 4, normal(), true}};
  gradient.outputs = {{"y", 4}};
  gradient.forward = [](OpValues& v) {
    for (size_t i = 0; i < 4; ++i) v["y"][i] = std::pow(v["x"][i], 3);
  };
  gradient.backward = [factor](OpValues& v) {
    for (size_t i = 0; i < 4; ++i) v["dx"][i] = factor * v["x"][i] * v["x"][i] * v["dy"][i];
  };
  return gradient;
}

TEST(GradientCheckItself, PassesTheRightGradientAndFailsWrongOnes) {
  EXPECT_EQ(check_gradient(cube(3)).value_or("passed"), "passed");
  EXPECT_NE(check_gradient(cube(3 * (1 + 1e-5))).value_or("passed").find("finite difference says"), std::string::npos);
  EXPECT_TRUE(check_gradient(cube(std::nan(""))).has_value());
  EXPECT_TRUE(check_gradient(cube(0)).has_value());
}

}  // namespace
}  // namespace conclave::kernels

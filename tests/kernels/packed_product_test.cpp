#include "kernels/cpu/packed_product.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <vector>

#include "kernels/cpu/pair_vector.h"
#include "kernels/gemm.h"
#include "kernels/op_case.h"

namespace conclave::kernels {
namespace {

/// Sets the number of threads for as long as it lives.
class Threads {
 public:
  explicit Threads(int count) : before_(omp_get_max_threads()) { omp_set_num_threads(count); }
  ~Threads() { omp_set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

Tensor filled(Device& device, const char* name, DType dtype, const Shape& shape) {
  const Tensor tensor = Tensor::empty(device, shape, dtype, {MemoryCategory::kActivations, "test"});
  write_values(tensor, normal()(shape.element_count(), name));
  return tensor;
}

std::vector<std::byte> bytes_of(const Tensor& tensor) { return {tensor.raw(), tensor.raw() + tensor.bytes()}; }

/// C of a product on so many threads; both kinds of left factor, sums cut in two.
std::vector<std::byte> product(Device& device, DType dtype, Transpose transpose_a, int threads) {
  const Threads set(threads);
  constexpr int64_t kM = 391, kN = 200, kK = 1300;
  const Tensor a = filled(device, "a", dtype, transpose_a == Transpose::kYes ? Shape{kK, kM} : Shape{kM, kK});
  const Tensor b = filled(device, "b", dtype, {kK, kN}), c = filled(device, "c", DType::kF32, {kM, kN});
  gemm(device.default_stream(),
       {.a = a, .b = b, .c = c, .transpose_a = transpose_a, .accumulate = Accumulate::kAdd, .bias = {}});
  return bytes_of(c);
}

bool is_packed(DType dtype) { return dtype == DType::kBF16 ? cpu::kMachineHasPairs : cpu::kMachineHasWideSums; }

class PackedProduct : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Dtypes, PackedProduct, testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& dtype) { return std::string(dtype_name(dtype.param)); });

TEST_P(PackedProduct, BitsDoNotDependOnTheNumberOfThreads) {
  if (!is_packed(GetParam())) GTEST_SKIP() << "oneDNN's on this machine";
  const auto device = make_device("cpu");
  for (const Transpose transpose_a : {Transpose::kNo, Transpose::kYes}) {
    const std::vector<std::byte> one = product(*device, GetParam(), transpose_a, 1);
    for (const int threads : {2, 3, 7})
      EXPECT_TRUE(product(*device, GetParam(), transpose_a, threads) == one) << threads;
  }
}

TEST_P(PackedProduct, MakesNoPrimitive) {
  if (!is_packed(GetParam())) GTEST_SKIP() << "oneDNN's on this machine";
  const auto device = make_device("cpu");
  const int64_t before = gemm_primitives_created();
  product(*device, GetParam(), Transpose::kNo, 2);
  EXPECT_EQ(gemm_primitives_created(), before);
}

TEST(PackedProductNumbers, NotANumberStaysInItsRow) {
  const auto device = make_device("cpu");
  for (const float bad : {std::nanf(""), INFINITY}) {
    const Tensor a = filled(*device, "a", DType::kBF16, {35, 9}), b = filled(*device, "b", DType::kBF16, {9, 70});
    const Tensor c = filled(*device, "c", DType::kF32, {35, 70});
    a.data<BF16>()[17 * 9] = to_bf16(bad);  // beside the last term of row 16, which has no partner
    gemm(device->default_stream(), {.a = a, .b = b, .c = c, .bias = {}});
    for (int64_t i = 0; i < 35; ++i) {
      for (int64_t j = 0; j < 70; ++j)
        EXPECT_EQ(std::isfinite(c.data<float>()[i * 70 + j]), i != 17) << i << ", " << j << " of " << bad;
    }
  }
}

TEST(PairVector, MultipliesBothHalves) {
  const auto word = [](float low, float high) {
    return static_cast<uint32_t>(to_bf16(low).bits) | static_cast<uint32_t>(to_bf16(high).bits) << 16;
  };
  const cpu::VecF sum =
      cpu::add_pair_products(cpu::broadcast(0.5f), cpu::broadcast_pair(word(2, -3)), cpu::broadcast_pair(word(5, 7)));
  for (int i = 0; i < cpu::kLanes; ++i) EXPECT_EQ(sum[i], 0.5f + 10 - 21);
}

}  // namespace
}  // namespace conclave::kernels

// Generators of other packages: numbers made with NumPy 2 and PyTorch 2.
#include "data/random.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/hash.h"
#include "data/blend.h"

namespace conclave {
namespace {

template <typename T>
std::string digest(const std::vector<T>& values) {
  return sha256_hex(std::as_bytes(std::span(values)));
}

TEST(NumpyRandomState, ShufflesAsNumpy) {
  NumpyRandomState random(1234);
  std::vector<int32_t> first(1000);
  std::iota(first.begin(), first.end(), 0);
  random.shuffle(first);
  EXPECT_EQ(first[0], 681);
  EXPECT_EQ(digest(first), "4654e92b166be9fc885a04b1a175e8aafe641a5268e1b4c7e107060006389bb0");
  std::vector<int64_t> second(300);
  std::iota(second.begin(), second.end(), 0);
  random.shuffle(second);  // goes on with the same stream
  EXPECT_EQ(digest(second), "f9471dff5ec97da84b9569ba2b8c170d38cce2988d7a948c1da6d160e143c151");
  std::vector<int32_t> none;
  random.shuffle(none);
  std::vector<uint32_t> one = {5};
  random.shuffle(one);
  EXPECT_EQ(one[0], 5u);
}

TEST(NumpyGenerator, DrawsIntegersAsNumpy) {
  NumpyGenerator zero(0), other(987654321);
  std::vector<int32_t> a, b;
  for (int i = 0; i < 1000; ++i) a.push_back(zero.integer(1, 4096));
  for (int i = 0; i < 1000; ++i) b.push_back(other.integer(-5, 852516352));
  EXPECT_EQ(a[0], 3484);
  EXPECT_EQ(digest(a), "7cedb29d1b6a54351f1d572a07f9f5637b3abbda32e9834eccb9c624c17cbab1");
  EXPECT_EQ(b[0], 692901979);
  EXPECT_EQ(digest(b), "8db824842e87a1f9feeee73a1e0f9fe0ae0ce7481337b52607dbb8abbb00ebf1");
}

TEST(TorchRandperm, IsThatOfPyTorch) {
  const std::vector<uint32_t> order = torch_randperm(100000, 7);
  EXPECT_EQ(order[0], 41615u);
  EXPECT_EQ(digest(order), "45ac769fae6a4d41b40c5dc155365f4c875cbba23f797e8a2b6ba3bb89ed55fb");
  EXPECT_TRUE(torch_randperm(0, 7).empty());
}

TEST(NormalizeWeights, SumsInTheOrderOfNumpy) {
  const std::pair<int, double> kSums[] = {{7, 4.035707336952881},
                                          {8, 4.318967607966844},
                                          {9, 2.2531903292978397},
                                          {130, 68.81657872727918},
                                          {1000, 489.81531064337395}};
  for (const auto& [count, sum] : kSums) {
    std::mt19937 engine(static_cast<uint32_t>(count));
    std::vector<double> weights;
    for (int i = 0; i < count; ++i) {  // RandomState(count).rand(count)
      const double high = static_cast<double>(engine() >> 5);
      weights.push_back((high * 67108864.0 + static_cast<double>(engine() >> 6)) / 9007199254740992.0);
    }
    const std::vector<double> normal = normalize_weights(weights);
    for (size_t i = 0; i < weights.size(); ++i) ASSERT_EQ(normal[i], weights[i] / sum) << count << " weights, " << i;
  }
}

}  // namespace
}  // namespace conclave

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "device/device.h"
#include "nn/saved_tensor.h"
#include "nn/weight_gradient_queue.h"

namespace conclave {
namespace {

TEST(SavedTensor, DiscardedValuesComeBackWhenAsked) {
  const auto device = make_device("cpu");
  int made = 0;
  const SavedTensor saved(SavedTensor::Rebuild([&] {
    ++made;
    return Tensor::empty(*device, {4}, DType::kF32, {});
  }));
  EXPECT_EQ(device->allocator().statistics().current_total, 0);
  saved.get();
  saved.get();
  EXPECT_EQ(made, 1);
  EXPECT_GT(device->allocator().statistics().current_total, 0);
  saved.forget();
  EXPECT_EQ(device->allocator().statistics().current_total, 0);
  saved.get();
  EXPECT_EQ(made, 2);
  EXPECT_THROW(SavedTensor().get(), InternalError);
}

TEST(WeightGradientQueue, DefersInOrder) {
  WeightGradientQueue queue;
  std::vector<int> order;
  queue.add(0, [&] { order.push_back(0); });
  EXPECT_EQ(order, (std::vector<int>{0}));
  queue.set_mode(WeightGradientQueue::Mode::kDeferred);
  for (int i = 0; i < 4; ++i) queue.add(i / 2, [&, i] { order.push_back(10 + i); });
  EXPECT_EQ(order.size(), 1u);
  EXPECT_THROW(queue.run(1), InternalError);
  queue.run(0);
  EXPECT_EQ(order, (std::vector<int>{0, 10, 11}));
  queue.run_all();
  EXPECT_EQ(order, (std::vector<int>{0, 10, 11, 12, 13}));
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace conclave

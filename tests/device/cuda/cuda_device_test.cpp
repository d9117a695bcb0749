// The GPU as a device: copies, memory, streams and events. Skipped where there is none.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "base/error.h"
#include "device/cuda_device.h"

namespace conclave {
namespace {

class CudaDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      device_ = make_cuda_device();
    } catch (const UserError& error) {
      GTEST_SKIP() << error.what();
    }
  }
  std::unique_ptr<Device> device_;
};

constexpr MemoryTag kTag{MemoryCategory::kActivations, "test"};

TEST_F(CudaDeviceTest, CopiesOfEverySizeComeBack) {
  const Stream stream = device_->default_stream();
  for (const int64_t bytes : {1, 255, 4096, 1 << 20, (8 << 20) + 3, 150 << 20}) {
    std::vector<uint8_t> in(static_cast<size_t>(bytes)), out(in.size());
    for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
    const auto block = device_->allocator().allocate(bytes, kTag);
    device_->copy_from_host(stream, block->data(), in.data(), bytes);
    const std::vector<uint8_t> sent = in;
    std::fill(in.begin(), in.end(), uint8_t{0});  // the source may change as soon as the call is back
    device_->copy_to_host(stream, out.data(), block->data(), bytes);
    EXPECT_EQ(out, sent) << bytes;
  }
}

TEST_F(CudaDeviceTest, ManySmallCopiesKeepTheirOrder) {
  const Stream stream = device_->default_stream();
  const auto block = device_->allocator().allocate(4, kTag);
  for (int i = 0; i < 1000000; i += 10) {
    const auto value = static_cast<int32_t>(i);
    device_->copy_from_host(stream, block->data(), &value, 4);
  }
  int32_t last = 0;
  device_->copy_to_host(stream, &last, block->data(), 4);
  EXPECT_EQ(last, 999990);
}

TEST_F(CudaDeviceTest, ASteadyStepAsksTheDriverForNothing) {
  Allocator& allocator = device_->allocator();
  const auto step = [&] {
    std::vector<std::shared_ptr<MemoryBlock>> held;
    for (int64_t i = 0; i < 300; ++i) {
      held.push_back(allocator.allocate(1000 + i * i * 977 % 30000000, kTag));
      if (i % 3 == 0) held.erase(held.begin() + static_cast<int64_t>(held.size()) / 2);
      if (i % 7 == 0 && !held.empty()) held.erase(held.begin());
    }
  };
  step();
  step();
  const int64_t calls = allocator.backing().calls;
  EXPECT_GT(calls, 0);
  for (int i = 0; i < 20; ++i) step();
  EXPECT_EQ(allocator.backing().calls, calls);
  EXPECT_EQ(allocator.statistics().current_total, 0);
}

TEST_F(CudaDeviceTest, BooksAreThoseOfTheSimulator) {
  const auto sim = make_device("sim");
  for (Device* device : {device_.get(), sim.get()}) {
    const auto a = device->allocator().allocate(1, kTag);
    const auto b = device->allocator().allocate(1000001, {MemoryCategory::kWeights, "w"});
  }
  EXPECT_EQ(device_->allocator().statistics().peak_total, sim->allocator().statistics().peak_total);
  EXPECT_EQ(device_->allocator().statistics().at_peak, sim->allocator().statistics().at_peak);
}

TEST_F(CudaDeviceTest, OutOfMemorySaysWhatHoldsWhat) {
  const auto held = device_->allocator().allocate(1 << 20, {MemoryCategory::kWeights, "the weights of a test"});
  try {
    device_->allocator().allocate(int64_t{1} << 42, kTag);
    FAIL() << "4 TiB fit";
  } catch (const UserError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("out of memory: 4.00 TiB"), std::string::npos) << text;
    EXPECT_NE(text.find("weights/the weights of a test"), std::string::npos) << text;
    EXPECT_NE(text.find("--recompute-granularity"), std::string::npos) << text;
  }
  EXPECT_NE(device_->allocator().allocate(1 << 20, kTag)->data(), nullptr);  // goes on after it
}

TEST_F(CudaDeviceTest, WhatSideStreamsHoldGoesWhenTheDefaultStreamWaits) {
  const Stream side = device_->side_stream("test");
  EXPECT_FALSE(side.is_default());
  EXPECT_TRUE(device_->default_stream().is_default());
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  device_->run_on(side, [held = std::move(held)] { EXPECT_EQ(*held, 1); });
  const auto event = device_->make_event();
  EXPECT_TRUE(event->is_reached());
  event->record(side);
  EXPECT_FALSE(watch.expired());
  event->wait_on(device_->default_stream());
  EXPECT_TRUE(watch.expired());
  device_->synchronize();
  EXPECT_TRUE(event->is_reached());
}

}  // namespace
}  // namespace conclave

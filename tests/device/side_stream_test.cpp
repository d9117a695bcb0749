#include <gtest/gtest.h>

#include <future>

#include "base/error.h"
#include "device/device.h"

namespace conclave {
namespace {

class SideStreams : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Device> device_ = make_device(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Devices, SideStreams, testing::Values("cpu", "sim"));

TEST_P(SideStreams, WorkIsDoneInOrderWhenTheEventIsReached) {
  const Stream side = device_->make_stream("side");
  std::vector<int> done;
  const auto event = device_->make_event();
  event->synchronize();  // before the first record: reached
  for (int i = 0; i < 100; ++i) device_->run_on(side, [&done, i] { done.push_back(i); });
  event->record(side);
  event->wait_on(device_->default_stream());
  ASSERT_EQ(done.size(), 100u);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_TRUE(event->is_reached());
}

TEST_P(SideStreams, OneStreamWaitsForAnother) {
  const Stream first = device_->make_stream("first"), second = device_->make_stream("second");
  int value = 0, seen = 0;
  for (int i = 0; i < 50; ++i) {
    device_->run_on(first, [&value] { ++value; });
    const auto event = device_->make_event();
    event->record(first);
    event->wait_on(second);
    device_->run_on(second, [&value, &seen] { seen = value; });
    event->record(second);
    event->wait_on(first);
  }
  device_->synchronize();
  EXPECT_EQ(seen, 50);
}

// Memory that work holds comes back at the wait, neither earlier nor later, on every device.
TEST_P(SideStreams, WhatWorkHoldsIsKeptUntilTheWait) {
  const Stream side = device_->make_stream("side"), other = device_->make_stream("other");
  const auto held = [&] { return device_->allocator().statistics().current_total; };
  const auto event = device_->make_event();
  device_->run_on(side, [block = device_->allocator().allocate(1024, {})] {});
  event->record(side);
  device_->run_on(side, [block = device_->allocator().allocate(4096, {})] {});
  EXPECT_EQ(held(), 5120);
  event->synchronize();
  EXPECT_EQ(held(), 4096);
  event->record(side);
  event->wait_on(other);
  EXPECT_EQ(held(), 4096);
  event->record(other);
  event->wait_on(device_->default_stream());
  EXPECT_EQ(held(), 0);
}

TEST(SideStream, WorksBesideTheHost) {
  const auto device = make_device("cpu");
  const Stream side = device->make_stream("side");
  std::promise<int> promise;
  int got = 0;
  device->run_on(side, [&] { got = promise.get_future().get(); });
  const auto event = device->make_event();
  event->record(side);
  EXPECT_FALSE(event->is_reached());
  promise.set_value(7);  // the host comes here while the stream waits
  event->synchronize();
  EXPECT_EQ(got, 7);
}

TEST(SideStream, AFailureIsThrownByTheWait) {
  const auto device = make_device("cpu");
  const Stream side = device->make_stream("side"), other = device->make_stream("other");
  bool later = false;
  device->run_on(side, [] { throw UserError("spoilt"); });
  device->run_on(side, [&later] { later = true; });
  const auto event = device->make_event();
  event->record(side);
  event->wait_on(other);
  event->record(other);
  EXPECT_THROW(event->synchronize(), UserError);
  EXPECT_THROW(device->synchronize(), UserError);
  EXPECT_FALSE(later);
}

TEST(SideStream, CopiesFollowTheOrderOfTheStream) {
  const auto device = make_device("cpu");
  const Stream side = device->make_stream("side");
  int value = 1, seen = 0;
  device->run_on(side, [&value] { value = 2; });
  device->copy_to_host(side, &seen, &value, sizeof value);
  EXPECT_EQ(seen, 2);
}

}  // namespace
}  // namespace conclave

#include "device/sim/sim_device.h"

#include <cstring>

#include "device/side_stream.h"

namespace conclave {
namespace {

class CountingAllocator final : public Allocator {
 protected:
  std::byte* take(int64_t) override { return nullptr; }
  void give_back(std::byte*, int64_t) override {}
};

class SimDevice final : public Device {
 public:
  SimDevice() : Device(std::make_unique<CountingAllocator>()) { ledger().track_by_op(true); }
  DeviceKind kind() const override { return DeviceKind::kSim; }
  std::string name() const override { return "sim"; }
  Stream default_stream() override { return Stream(*this); }
  Stream make_stream(const std::string& name) override { return streams_.make(*this, name); }
  void run_on(const Stream& stream, std::function<void()> work) override {
    SideStreams::run_on(stream, std::move(work));
  }
  std::unique_ptr<Event> make_event() override { return SideStreams::make_event(); }
  void synchronize() override { streams_.synchronize(); }
  void copy_from_host(const Stream&, void*, const void*, int64_t) override {}
  void copy_to_host(const Stream&, void* destination, const void*, int64_t bytes) override {
    if (bytes > 0) std::memset(destination, 0, static_cast<size_t>(bytes));
  }

 private:
  SideStreams streams_{SideStream::Mode::kImmediate};
};

}  // namespace

std::unique_ptr<Device> make_sim_device() { return std::make_unique<SimDevice>(); }

}  // namespace conclave

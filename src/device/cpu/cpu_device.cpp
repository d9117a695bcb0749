#include "device/cpu/cpu_device.h"

#include <malloc.h>

#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace conclave {
namespace {

// Large blocks stay in the heap instead of going back to the system each time, so a steady step takes no page faults.
void keep_heap_pages() {
  static const bool done = [] {
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 16 << 20);
    return true;
  }();
  (void)done;
}

class HostAllocator final : public Allocator {
 protected:
  std::byte* take(int64_t bytes) override {
    void* data = std::aligned_alloc(static_cast<size_t>(kAlignment), static_cast<size_t>(bytes));
    CONCLAVE_USER_CHECK(
        data != nullptr,
        "[device/cpu] the machine has no {} bytes left; use a smaller --micro-batch-size or --recompute-granularity",
        bytes);
    return static_cast<std::byte*>(data);
  }
  void give_back(std::byte* data, int64_t) override { std::free(data); }
};

class ReachedEvent final : public Event {
 public:
  void record(const Stream&) override {}
  void wait_on(const Stream&) override {}
  void synchronize() override {}
};

class CpuDevice final : public Device {
 public:
  CpuDevice() : Device(std::make_unique<HostAllocator>()) { keep_heap_pages(); }
  DeviceKind kind() const override { return DeviceKind::kCpu; }
  std::string name() const override { return "cpu"; }
  Stream default_stream() override { return Stream(*this); }
  std::unique_ptr<Event> make_event() override { return std::make_unique<ReachedEvent>(); }
  void synchronize() override {}
  void copy_from_host(const Stream&, void* destination, const void* source, int64_t bytes) override {
    if (bytes > 0) std::memcpy(destination, source, static_cast<size_t>(bytes));
  }
  void copy_to_host(const Stream&, void* destination, const void* source, int64_t bytes) override {
    if (bytes > 0) std::memcpy(destination, source, static_cast<size_t>(bytes));
  }
};

}  // namespace

std::unique_ptr<Device> make_cpu_device() { return std::make_unique<CpuDevice>(); }

}  // namespace conclave

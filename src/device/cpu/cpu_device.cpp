#include "device/cpu/cpu_device.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "base/error.h"
#include "device/side_stream.h"

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

// Products walk over hundreds of megabytes: with pages of 4 KiB much of their time goes to looking pages up. The system
// gives large ones where it is asked to and can; where not, nothing changes. Neighbours on the first and last page are
// in the same heap.
class LargePages {
 public:
  void ask(const void* data, int64_t bytes) {
    constexpr intptr_t kPage = 2 << 20;
    if (bytes < kPage / 2) return;
    const auto first = reinterpret_cast<intptr_t>(data) / kPage * kPage;
    const intptr_t end = round_up(reinterpret_cast<intptr_t>(data) + bytes, kPage);
    const std::lock_guard lock(mutex_);
    if (first >= first_ && end <= end_) return;
    const bool goes_on = first >= first_ && first <= end_;
    if (!goes_on) first_ = first;
    end_ = end;
    (void)madvise(reinterpret_cast<void*>(first), static_cast<size_t>(end - first), MADV_HUGEPAGE);
  }

 private:
  std::mutex mutex_;
  intptr_t first_ = 0, end_ = 0;  // asked for; a heap grows upwards, so this is most of it
};

class HostAllocator final : public Allocator {
 protected:
  std::byte* take(int64_t bytes) override {
    void* data = std::aligned_alloc(static_cast<size_t>(kAlignment), static_cast<size_t>(bytes));
    CONCLAVE_USER_CHECK(
        data != nullptr,
        "[device/cpu] the machine has no {} bytes left; use a smaller --micro-batch-size or --recompute-granularity",
        bytes);
    large_pages_.ask(data, bytes);
    return static_cast<std::byte*>(data);
  }
  void give_back(std::byte* data, int64_t) override { std::free(data); }

 private:
  LargePages large_pages_;
};

class CpuDevice final : public Device {
 public:
  CpuDevice() : Device(std::make_unique<HostAllocator>()) { keep_heap_pages(); }
  DeviceKind kind() const override { return DeviceKind::kCpu; }
  std::string name() const override { return "cpu"; }
  Stream default_stream() override { return Stream(*this); }
  Stream make_stream(const std::string& name) override { return streams_.make(*this, name); }
  void run_on(const Stream& stream, std::function<void()> work) override {
    SideStreams::run_on(stream, std::move(work));
  }
  std::unique_ptr<Event> make_event() override { return SideStreams::make_event(); }
  void synchronize() override { streams_.synchronize(); }
  void copy_from_host(const Stream& stream, void* destination, const void* source, int64_t bytes) override {
    copy(stream, destination, source, bytes);
  }
  void copy_to_host(const Stream& stream, void* destination, const void* source, int64_t bytes) override {
    copy(stream, destination, source, bytes);
  }

 private:
  SideStreams streams_{SideStream::Mode::kThread};

  void copy(const Stream& stream, void* destination, const void* source, int64_t bytes) {
    if (bytes == 0) return;
    run_on(stream, [=] { std::memcpy(destination, source, static_cast<size_t>(bytes)); });
    const auto done = make_event();
    done->record(stream);
    done->synchronize();
  }
};

}  // namespace

std::unique_ptr<Device> make_cpu_device() { return std::make_unique<CpuDevice>(); }

}  // namespace conclave

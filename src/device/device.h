// A place where tensors live and kernels run: cpu, cuda, or sim (shapes only: no memory, no arithmetic, everything
// accounted).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "device/accounting.h"
#include "device/memory.h"

namespace conclave {

enum class DeviceKind { kCpu, kCuda, kSim };

class Device;

/// An ordered queue of work on a device. On cpu and sim work is done before the call returns. Copyable handle.
class Stream {
 public:
  explicit Stream(Device& device, void* native = nullptr) : device_(&device), native_(native) {}
  Device& device() const { return *device_; }
  void* native() const { return native_; }

 private:
  Device* device_;
  void* native_;
};

/// A point in a stream's work that the host or another stream can wait for. On cpu and sim it is always reached.
class Event {
 public:
  virtual ~Event() = default;
  virtual void record(const Stream& stream) = 0;
  virtual void wait_on(const Stream& stream) = 0;  ///< makes `stream` wait for the recorded point
  virtual void synchronize() = 0;                  ///< makes the host wait
};

class Device {
 public:
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  virtual DeviceKind kind() const = 0;
  virtual std::string name() const = 0;
  virtual Stream default_stream() = 0;
  virtual std::unique_ptr<Event> make_event() = 0;
  virtual void synchronize() = 0;

  /// Copies between host memory and this device's memory, in stream order; done on return for cpu. `sim` ignores the
  /// data.
  virtual void copy_from_host(const Stream& stream, void* destination, const void* source, int64_t bytes) = 0;
  virtual void copy_to_host(const Stream& stream, void* destination, const void* source, int64_t bytes) = 0;

  Allocator& allocator() { return *allocator_; }
  /// FLOPs and bytes of the kernels that ran here, by op.
  CostLedger& ledger() { return ledger_; }
  bool is_sim() const { return kind() == DeviceKind::kSim; }

 protected:
  explicit Device(std::unique_ptr<Allocator> allocator) : allocator_(std::move(allocator)) {}

 private:
  std::unique_ptr<Allocator> allocator_;
  CostLedger ledger_;
};

/// "cpu", "cuda" or "sim"; UserError for a name that is not known or not built in.
std::unique_ptr<Device> make_device(const std::string& name);

}  // namespace conclave

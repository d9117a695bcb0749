// A place where tensors live and kernels run: cpu, cuda, or sim (shapes only: no memory, no arithmetic, everything
// accounted).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "device/accounting.h"
#include "device/memory.h"

namespace conclave {

enum class DeviceKind { kCpu, kCuda, kSim };

class Device;

/// An ordered queue of work on a device. Copyable handle. On cpu and sim the work of the default stream is done before
/// the call returns, and kernels run on the default stream only; side streams (Device::make_stream) carry host work:
/// collectives, copies. On cuda every stream is a queue of the GPU.
class Stream {
 public:
  explicit Stream(Device& device, void* native = nullptr) : device_(&device), native_(native) {}
  Device& device() const { return *device_; }
  void* native() const { return native_; }
  bool is_default() const;

 private:
  Device* device_;
  void* native_;
};

/// A point in a stream's work that the host or another stream can wait for. Before the first record() it counts as
/// reached. Waiting throws what the work before the point threw. On cpu and sim, what work of a side stream holds
/// (tensors) is let go when the host or the default stream waits for an event after it, never earlier: every use of a
/// side stream needs such a wait, or Device::synchronize().
class Event {
 public:
  virtual ~Event() = default;
  virtual void record(const Stream& stream) = 0;
  virtual void wait_on(const Stream& stream) = 0;  ///< makes `stream` wait for the recorded point
  virtual void synchronize() = 0;                  ///< makes the host wait
  virtual bool is_reached() const = 0;             ///< asks without waiting
};

class Device {
 public:
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  virtual DeviceKind kind() const = 0;
  virtual std::string name() const = 0;
  virtual Stream default_stream() = 0;
  /// A stream beside the default one; it lives as long as the device. On cpu a thread of its own serves it.
  virtual Stream make_stream(const std::string& name) = 0;
  /// The one side stream of this name; made when first asked for.
  Stream side_stream(const std::string& name);
  /// Carries out host work in the order of the stream: now on the default stream of cpu and sim. What `work` captures
  /// is kept until the host waits for it (Event). It must not allocate on this device or run kernels. On cuda `work`
  /// runs now, to enqueue on the GPU's stream; there, too, what it captures is kept.
  virtual void run_on(const Stream& stream, std::function<void()> work) = 0;
  virtual std::unique_ptr<Event> make_event() = 0;
  /// The host waits for all streams.
  virtual void synchronize() = 0;

  /// Copies between host memory and this device's memory, in stream order. The source may change on return from
  /// copy_from_host; the values are there on return from copy_to_host. `sim` ignores the data.
  virtual void copy_from_host(const Stream& stream, void* destination, const void* source, int64_t bytes) = 0;
  virtual void copy_to_host(const Stream& stream, void* destination, const void* source, int64_t bytes) = 0;

  Allocator& allocator() { return *allocator_; }
  /// FLOPs and bytes of the kernels that ran here, by op.
  CostLedger& ledger() { return ledger_; }
  bool is_sim() const { return kind() == DeviceKind::kSim; }
  /// Stream::native() of the default stream.
  virtual void* default_native() const { return nullptr; }

 protected:
  explicit Device(std::unique_ptr<Allocator> allocator) : allocator_(std::move(allocator)) {}

 private:
  std::unique_ptr<Allocator> allocator_;
  CostLedger ledger_;
  std::map<std::string, Stream> side_streams_;
};

inline bool Stream::is_default() const { return native_ == device_->default_native(); }

/// "cpu", "cuda" or "sim"; UserError for a name that is not known or not built in.
std::unique_ptr<Device> make_device(const std::string& name);

}  // namespace conclave

#include "device/recorded_work.h"

#include "base/error.h"

namespace conclave {

std::unique_ptr<RecordedWork> record_work(Device& device, const std::function<void()>&) {
  throw_user(fmt::format("[device] work of {} cannot be recorded: this program was built without CUDA", device.name()));
}

}  // namespace conclave

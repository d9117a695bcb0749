// Work of a GPU that is recorded once and carried out again by one call.
#pragma once

#include <functional>
#include <memory>

#include "device/device.h"

namespace conclave {

class RecordedWork {
 public:
  virtual ~RecordedWork() = default;
  /// Enqueues all of it on the default stream.
  virtual void replay() = 0;
};

/// Calls `work` with the GPU recording: what it enqueues on the default stream (and on side streams that it makes wait
/// for that, and waits for) is not carried out, but kept. Memory that `work` takes and gives back stays set aside for
/// replays; what it was given must still stand at every replay, so must what it takes and keeps. `work` may not copy
/// from or to the host, nor wait; UserError naming that rule if it does. Only on cuda.
std::unique_ptr<RecordedWork> record_work(Device& device, const std::function<void()>& work);

}  // namespace conclave

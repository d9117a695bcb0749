// Points in a stream's work, and the times between them as the device saw them.
#pragma once

#include <memory>
#include <vector>

#include "device/device.h"

namespace conclave {

class TimeMarks {
 public:
  virtual ~TimeMarks() = default;
  /// The point after all work of `stream` so far. All marks on one stream.
  virtual void mark(const Stream& stream) = 0;
  /// Waits for the last mark; seconds from each mark to the next. Begins anew.
  virtual std::vector<double> take() = 0;
};

/// By events of the GPU on cuda, by the host's clock where kernels run on the host.
std::unique_ptr<TimeMarks> make_time_marks(const Device& device);

}  // namespace conclave

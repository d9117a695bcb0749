// Where the time of one step goes: each op from its beginning to the next one's, as the device saw it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "device/time_marks.h"
#include "kernels/op_watch.h"

namespace conclave::proof {

/// Every op of a step with its time; what lies between two ops (copies, gaps) counts to the first.
struct StepProfile {
  struct Op {
    const char* name;  ///< a literal
    double seconds;
  };
  std::vector<Op> ops;
  double seconds() const;
};

/// The work that an op belongs to: "dense products", "attention", ...
const char* op_category(std::string_view op);

/// One line per category, the longest first, each with its ops: milliseconds, share, number of calls.
std::string profile_table(const StepProfile& profile);
/// A Chrome trace (chrome://tracing, Perfetto): a row per category.
Json chrome_trace(const StepProfile& profile);

/// Times the ops of this thread while it lives.
class StepProfiler final : public kernels::OpWatch {
 public:
  explicit StepProfiler(Device& device);
  void begins(const Stream& stream, const char* op) override;
  /// What ran so far.
  StepProfile take();

 private:
  Device& device_;
  std::unique_ptr<TimeMarks> marks_;
  std::vector<const char*> names_;
  kernels::WatchedOps watched_;
};

}  // namespace conclave::proof

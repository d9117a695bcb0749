#include "device/time_marks.h"

#include "base/clock.h"
#include "device/cuda_device.h"

namespace conclave {
namespace {

class HostMarks final : public TimeMarks {
 public:
  void mark(const Stream&) override { at_.push_back(watch_.seconds()); }
  std::vector<double> take() override {
    std::vector<double> out;
    for (size_t i = 1; i < at_.size(); ++i) out.push_back(at_[i] - at_[i - 1]);
    at_.clear();
    return out;
  }

 private:
  Stopwatch watch_;
  std::vector<double> at_;
};

}  // namespace

std::unique_ptr<TimeMarks> make_time_marks(const Device& device) {
  if (device.kind() == DeviceKind::kCuda) return make_cuda_time_marks();
  return std::make_unique<HostMarks>();
}

}  // namespace conclave

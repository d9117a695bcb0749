#include <cuda_runtime_api.h>

#include "device/cuda/cuda_check.h"
#include "device/cuda/cuda_stream.h"
#include "device/cuda_device.h"

namespace conclave {
namespace {

class CudaMarks final : public TimeMarks {
 public:
  ~CudaMarks() override {
    for (const cudaEvent_t event : events_) cudaEventDestroy(event);
    cudaGetLastError();
  }
  void mark(const Stream& stream) override {
    if (used_ == events_.size()) {
      cudaEvent_t event = nullptr;
      CONCLAVE_CUDA(cudaEventCreate(&event));
      events_.push_back(event);
    }
    CONCLAVE_CUDA(cudaEventRecord(events_[used_++], cuda_stream(stream)));
  }
  std::vector<double> take() override {
    std::vector<double> out;
    if (used_ > 0) CONCLAVE_CUDA(cudaEventSynchronize(events_[used_ - 1]));
    for (size_t i = 1; i < used_; ++i) {
      float milliseconds = 0;
      CONCLAVE_CUDA(cudaEventElapsedTime(&milliseconds, events_[i - 1], events_[i]));
      out.push_back(1e-3 * static_cast<double>(milliseconds));
    }
    used_ = 0;
    return out;
  }

 private:
  std::vector<cudaEvent_t> events_;
  size_t used_ = 0;
};

}  // namespace

std::unique_ptr<TimeMarks> make_cuda_time_marks() { return std::make_unique<CudaMarks>(); }

}  // namespace conclave

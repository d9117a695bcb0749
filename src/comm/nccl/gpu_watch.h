// Looks after collectives on GPUs: one that is not done in time, or that NCCL gave up, ends the job with its name.
// Nobody else would: the host waits in the driver, which knows neither names nor limits.
#pragma once

#include <nccl.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "comm/gpu_transport.h"
#include "device/cuda/cuda_check.h"

namespace conclave::nccl {

class GpuWatch {
 public:
  /// The one of this process, for as long as somebody keeps it.
  static std::shared_ptr<GpuWatch> shared(const GpuTransport& transport);
  explicit GpuWatch(const GpuTransport& transport);
  ~GpuWatch();

  /// A call that was just enqueued on `stream`; `text` describes it.
  void add(cudaStream_t stream, std::vector<ncclComm_t> comms, std::string text);

 private:
  struct Pending {
    cudaEvent_t done = nullptr;
    std::vector<ncclComm_t> comms;  ///< what carries it
    std::string text;
    double since = 0;
  };

  const GpuTransport& transport_;
  int device_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Pending> pending_;
  std::vector<cudaEvent_t> free_;
  bool ends_ = false;
  std::thread thread_;

  void run();
  void look();
};

}  // namespace conclave::nccl

#include "comm/nccl/gpu_watch.h"

#include <chrono>

#include "base/clock.h"
#include "comm/nccl/nccl_library.h"

namespace conclave::nccl {
namespace {

double now() {
  static const Stopwatch watch;
  return watch.seconds();
}

}  // namespace

std::shared_ptr<GpuWatch> GpuWatch::shared(const GpuTransport& transport) {
  static std::mutex mutex;
  static std::weak_ptr<GpuWatch> known;
  const std::lock_guard lock(mutex);
  std::shared_ptr<GpuWatch> watch = known.lock();
  if (!watch) known = watch = std::make_shared<GpuWatch>(transport);
  return watch;
}

GpuWatch::GpuWatch(const GpuTransport& transport) : transport_(transport) {
  CONCLAVE_CUDA(cudaGetDevice(&device_));
  thread_ = std::thread([this] { run(); });
}

GpuWatch::~GpuWatch() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  wake_.notify_all();
  thread_.join();
  for (const Pending& pending : pending_) cudaEventDestroy(pending.done);
  for (cudaEvent_t event : free_) cudaEventDestroy(event);
}

void GpuWatch::add(cudaStream_t stream, std::vector<ncclComm_t> comms, std::string text) {
  const std::lock_guard lock(mutex_);
  cudaEvent_t done = nullptr;
  if (free_.empty()) {
    CONCLAVE_CUDA(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
  } else {
    done = free_.back();
    free_.pop_back();
  }
  CONCLAVE_CUDA(cudaEventRecord(done, stream));
  pending_.push_back({done, std::move(comms), std::move(text), now()});
}

void GpuWatch::run() {
  cudaSetDevice(device_);
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, std::chrono::milliseconds(100), [this] { return ends_; })) look();
}

// The oldest first: what comes after it on its stream waits for it.
void GpuWatch::look() {
  const double limit = transport_.settings().timeout_seconds;
  for (auto at = pending_.begin(); at != pending_.end();) {
    if (cudaEventQuery(at->done) == cudaSuccess) {
      free_.push_back(at->done);
      at = pending_.erase(at);
      continue;
    }
    ncclResult_t state = ncclSuccess;
    for (ncclComm_t comm : at->comms) {
      if (state == ncclSuccess || state == ncclInProgress) library().async_error(comm, &state);
    }
    if (state != ncclSuccess && state != ncclInProgress) {
      transport_.end_job(
          {fmt::format("[comm/nccl] {}: {}; another rank ended, or a link between GPUs failed "
                       "(NCCL_DEBUG=WARN tells more)",
                       at->text, library().error_string(state))});
    }
    if (limit > 0 && now() - at->since > limit) {
      transport_.end_job(
          {fmt::format("[comm/nccl] {} is not done after {:.3g} s (--distributed-timeout-minutes); a "
                       "rank did not come, or called something else: --check-collectives tells",
                       at->text, limit)});
    }
    return;  // others wait their turn
  }
}

}  // namespace conclave::nccl

#include "device/cuda_device.h"

#include <cuda_runtime_api.h>

#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "device/cuda/cuda_allocator.h"
#include "device/cuda/cuda_check.h"
#include "device/cuda/cuda_stream.h"
#include "device/cuda/pinned_ring.h"

namespace conclave {
namespace {

int rank_on_this_machine = 0;

class CudaEvent final : public Event {
 public:
  explicit CudaEvent(int device) {
    CONCLAVE_CUDA(cudaSetDevice(device));
    CONCLAVE_CUDA(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
  }
  ~CudaEvent() override { cudaEventDestroy(event_); }

  void record(const Stream& stream) override {
    queue_ = cuda_queue(stream);
    ticket_ = queue_->held ? queue_->held->last_ticket() : 0;
    CONCLAVE_CUDA(cudaEventRecord(event_, queue_->stream));
  }
  void wait_on(const Stream& stream) override {
    CudaQueue* const waiting = cuda_queue(stream);
    if (queue_ == nullptr || queue_ == waiting) return;
    CONCLAVE_CUDA(cudaStreamWaitEvent(waiting->stream, event_, 0));
    if (!queue_->held) return;
    // What the default stream does from here on comes after the work, so memory that it held may be used again.
    if (waiting->held) {
      waiting->held->enqueue_wait(*queue_->held, ticket_);
    } else {
      queue_->held->wait(ticket_);
    }
  }
  void synchronize() override {
    if (queue_ == nullptr) return;
    CONCLAVE_CUDA(cudaEventSynchronize(event_));
    if (queue_->held) queue_->held->wait(ticket_);
  }
  bool is_reached() const override {
    if (queue_ == nullptr) return true;
    const cudaError_t error = cudaEventQuery(event_);
    if (error == cudaErrorNotReady) return false;
    check_cuda(error, "cudaEventQuery");
    return true;
  }

 private:
  cudaEvent_t event_ = nullptr;
  CudaQueue* queue_ = nullptr;
  int64_t ticket_ = 0;
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int number)
      : Device(std::make_unique<CudaAllocator>(number)), number_(number), ring_(number), default_(make_queue()) {}
  ~CudaDevice() override {
    cudaDeviceSynchronize();
    for (const auto& queue : side_) {
      queue->held.reset();
      cudaStreamDestroy(queue->stream);
    }
    cudaStreamDestroy(default_->stream);
    cudaGetLastError();
  }

  DeviceKind kind() const override { return DeviceKind::kCuda; }
  std::string name() const override { return "cuda"; }
  void* default_native() const override { return default_.get(); }
  Stream default_stream() override { return Stream(*this, default_.get()); }

  Stream make_stream(const std::string& name) override {
    side_.push_back(make_queue());
    side_.back()->held = std::make_unique<SideStream>(name, SideStream::Mode::kImmediate);
    return Stream(*this, side_.back().get());
  }
  void run_on(const Stream& stream, std::function<void()> work) override {
    CONCLAVE_CUDA(cudaSetDevice(number_));
    SideStream* const held = cuda_queue(stream)->held.get();
    if (held == nullptr) {
      work();
    } else {
      held->enqueue(std::move(work));
    }
  }
  std::unique_ptr<Event> make_event() override { return std::make_unique<CudaEvent>(number_); }

  void synchronize() override {
    CONCLAVE_CUDA(cudaSetDevice(number_));
    CONCLAVE_CUDA(cudaStreamSynchronize(default_->stream));
    for (const auto& queue : side_) {
      CONCLAVE_CUDA(cudaStreamSynchronize(queue->stream));
      queue->held->wait(queue->held->last_ticket());
    }
  }
  void copy_from_host(const Stream& stream, void* destination, const void* source, int64_t bytes) override {
    if (bytes > 0) ring_.to_device(cuda_stream(stream), destination, source, bytes);
  }
  void copy_to_host(const Stream& stream, void* destination, const void* source, int64_t bytes) override {
    if (bytes > 0) ring_.to_host(cuda_stream(stream), destination, source, bytes);
  }

 private:
  std::unique_ptr<CudaQueue> make_queue() const {
    auto queue = std::make_unique<CudaQueue>();
    queue->device = number_;
    CONCLAVE_CUDA(cudaSetDevice(number_));
    CONCLAVE_CUDA(cudaStreamCreateWithFlags(&queue->stream, cudaStreamNonBlocking));
    return queue;
  }

  int number_;
  PinnedRing ring_;
  std::unique_ptr<CudaQueue> default_;
  std::vector<std::unique_ptr<CudaQueue>> side_;
};

}  // namespace

std::unique_ptr<Device> make_cuda_device() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();
  CONCLAVE_USER_CHECK(error == cudaSuccess && count > 0,
                      "--device cuda: there is no GPU to use ({}); use --device cpu, or see what nvidia-smi and "
                      "CUDA_VISIBLE_DEVICES say",
                      error == cudaSuccess ? "none is visible" : cudaGetErrorString(error));
  return std::make_unique<CudaDevice>(rank_on_this_machine % count);
}

void use_gpu_of_rank(int rank_on_machine) {
  rank_on_this_machine = rank_on_machine;
  // A kernel that is loaded when first launched waits for those that run, and one of these may be a collective that
  // waits for other ranks.
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
}

bool cuda_is_built_in() { return true; }

}  // namespace conclave

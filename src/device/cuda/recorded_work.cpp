#include "device/recorded_work.h"

#include <cuda_runtime_api.h>

#include "base/error.h"
#include "device/cuda/cuda_allocator.h"
#include "device/cuda/cuda_check.h"
#include "device/cuda/cuda_stream.h"

namespace conclave {
namespace {

class CudaGraph final : public RecordedWork {
 public:
  CudaGraph(cudaGraph_t graph, CudaQueue* queue) : queue_(queue) {
    const cudaError_t error = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check_cuda(error, "cudaGraphInstantiate");
    CONCLAVE_CUDA(cudaGraphUpload(executable_, queue_->stream));
  }
  ~CudaGraph() override {
    cudaStreamSynchronize(queue_->stream);
    cudaGraphExecDestroy(executable_);
    cudaGetLastError();
  }
  void replay() override { CONCLAVE_CUDA(cudaGraphLaunch(executable_, queue_->stream)); }

 private:
  CudaQueue* queue_;
  cudaGraphExec_t executable_ = nullptr;
};

/// While it lives the allocator serves from memory set aside for recorded work.
class SetAside {
 public:
  explicit SetAside(CudaAllocator& allocator) : allocator_(allocator) { allocator_.set_recording(true); }
  ~SetAside() { allocator_.set_recording(false); }

 private:
  CudaAllocator& allocator_;
};

}  // namespace

std::unique_ptr<RecordedWork> record_work(Device& device, const std::function<void()>& work) {
  CONCLAVE_CHECK(device.kind() == DeviceKind::kCuda, "[device] work of {} is recorded", device.name());
  auto& allocator = static_cast<CudaAllocator&>(device.allocator());
  CudaQueue* const queue = cuda_queue(device.default_stream());
  device.synchronize();
  allocator.give_up_unused();
  CONCLAVE_CUDA(cudaStreamBeginCapture(queue->stream, cudaStreamCaptureModeRelaxed));
  cudaGraph_t graph = nullptr;
  try {
    const SetAside aside(allocator);
    work();
  } catch (...) {
    cudaStreamEndCapture(queue->stream, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  const cudaError_t error = cudaStreamEndCapture(queue->stream, &graph);
  cudaGetLastError();
  CONCLAVE_USER_CHECK(error == cudaSuccess && graph != nullptr,
                      "[device/cuda] the work cannot be recorded as a CUDA graph ({}): something in it waits for the "
                      "GPU or copies from the host; leave out --cuda-graph-impl",
                      cudaGetErrorString(error));
  return std::make_unique<CudaGraph>(graph, queue);
}

}  // namespace conclave

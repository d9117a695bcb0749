// What Stream::native() points to on a GPU.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "device/device.h"
#include "device/side_stream.h"

namespace conclave {

struct CudaQueue {
  cudaStream_t stream = nullptr;
  int device = 0;  ///< number of the GPU, as the runtime counts
  /// Side streams: what enqueued work holds (tensors), until the default stream or the host waits for it.
  std::unique_ptr<SideStream> held;
};

inline CudaQueue* cuda_queue(const Stream& stream) { return static_cast<CudaQueue*>(stream.native()); }
inline cudaStream_t cuda_stream(const Stream& stream) { return cuda_queue(stream)->stream; }

}  // namespace conclave

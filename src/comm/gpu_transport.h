// Collectives of tensors on GPUs, where NCCL is built in (comm/nccl/); without it (comm/no_nccl/) groups stay as they
// are and know host memory alone.
#pragma once

#include <functional>
#include <memory>

#include "comm/communicator.h"
#include "comm/failure.h"
#include "comm/world.h"

namespace conclave {

/// What a group on GPUs takes from its world; must outlive the group.
struct GpuTransport {
  std::function<CommSettings()> settings;
  std::function<void(const Failure&)> end_job;  ///< a wait on the GPU that is in vain cannot throw where somebody waits
};

/// A group that carries calls on GPU streams over NCCL and hands all others to `host`, which also introduces the
/// members to each other. Sums are made as the contract says: pieces travel, and each member adds its own in rank
/// order.
std::unique_ptr<Communicator> with_gpu_transport(std::unique_ptr<Communicator> host, const GpuTransport& transport);

bool gpu_transport_is_built_in();

}  // namespace conclave

// The GPU, where it is built in (device/cuda/) and the words to say where it is not (device/no_cuda/).
#pragma once

#include <memory>

#include "device/device.h"
#include "device/time_marks.h"

namespace conclave {

std::unique_ptr<Device> make_cuda_device();
std::unique_ptr<TimeMarks> make_cuda_time_marks();
bool cuda_is_built_in();
/// Devices made from now on are on the GPU of this rank among those of its machine: GPUs are dealt out in turn.
void use_gpu_of_rank(int rank_on_machine);

}  // namespace conclave

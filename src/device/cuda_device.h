// The GPU, where it is built in (device/cuda/) and the words to say where it is not (device/no_cuda/).
#pragma once

#include <memory>

#include "device/device.h"

namespace conclave {

std::unique_ptr<Device> make_cuda_device();
bool cuda_is_built_in();

}  // namespace conclave

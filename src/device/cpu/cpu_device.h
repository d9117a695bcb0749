// The CPU: host memory, work done before each call returns.
#pragma once

#include <memory>

#include "device/device.h"

namespace conclave {

std::unique_ptr<Device> make_cpu_device();

}  // namespace conclave

// What this machine's products reach: the yardstick of a training step.
#pragma once

#include "base/dtype.h"
#include "device/device.h"

namespace conclave {

/// FLOP/s of the best of a few [1024,1024] products of this dtype, measured in some tens of milliseconds.
double product_ceiling(Device& device, DType dtype);

}  // namespace conclave

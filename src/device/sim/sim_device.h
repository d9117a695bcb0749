// The simulator: shapes only. Allocations are counted and not made, kernels add their cost to the ledger, host reads
// return declared values.
#pragma once

#include <memory>

#include "device/device.h"

namespace conclave {

std::unique_ptr<Device> make_sim_device();

}  // namespace conclave

#include "device/device.h"

#include "base/error.h"
#include "device/cpu/cpu_device.h"
#include "device/cuda_device.h"
#include "device/sim/sim_device.h"

namespace conclave {

Stream Device::side_stream(const std::string& name) {
  const auto found = side_streams_.find(name);
  return found != side_streams_.end() ? found->second : side_streams_.emplace(name, make_stream(name)).first->second;
}

std::unique_ptr<Device> make_device(const std::string& name) {
  if (name == "cpu") return make_cpu_device();
  if (name == "cuda") return make_cuda_device();
  if (name == "sim") return make_sim_device();
  throw_user(fmt::format("--device {}: no such device; use cpu, cuda or sim", name));
}

}  // namespace conclave

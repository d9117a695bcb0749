#include "device/cuda_device.h"

#include "base/error.h"

namespace conclave {

std::unique_ptr<Device> make_cuda_device() {
  throw_user("--device cuda: this program was built without CUDA; use --device cpu, or build the `cuda` preset");
}
std::unique_ptr<TimeMarks> make_cuda_time_marks() { throw_user("times of a GPU: this program was built without CUDA"); }
bool cuda_is_built_in() { return false; }
void use_gpu_of_rank(int) {}

}  // namespace conclave

// Every case of every op's table on the GPU: against ref, guard bytes, unaligned buffers, ten runs with the same bits.
#include "device/cuda_device.h"
#include "kernels/op_check.h"

namespace conclave::kernels {
namespace {

/// One device for all cases, null where there is none: workspace then holds what earlier cases left there.
Device* shared_gpu() {
  static const std::unique_ptr<Device> gpu = [] {
    try {
      return make_cuda_device();
    } catch (const UserError&) {
      return std::unique_ptr<Device>();
    }
  }();
  return gpu.get();
}

TEST_P(OpCheck, MatchesReferenceOnGpu) {
  Device* const gpu = shared_gpu();
  if (gpu == nullptr) GTEST_SKIP() << "no GPU here";
  try {
    const auto text = check_against_reference(GetParam(), this_test_filter(), gpu);
    EXPECT_FALSE(text) << *text;
  } catch (const UserError& error) {
    if (std::string(error.what()).find("has no CUDA form") == std::string::npos) throw;
    GTEST_SKIP() << error.what();
  }
}

}  // namespace
}  // namespace conclave::kernels

// The same cases as for threads and processes, with tensors on GPUs over NCCL; ranks may share one GPU.
#include <gtest/gtest.h>

#include "comm/launched_jobs.h"
#include "device/device.h"

namespace conclave {
namespace {

std::string gpu_obstacle() {
  try {
    (void)make_device("cuda");
  } catch (const Error& error) {
    return error.what();
  }
  return launch_obstacle();
}

// NCCL takes ranks that share a GPU for ranks of different machines, if told so.
Job launch(int ranks, const std::string& arguments) {
  return run_mpirun(fmt::format("-np {} -x NCCL_SOCKET_IFNAME=lo sh -c 'NCCL_HOSTID=$OMPI_COMM_WORLD_RANK exec {} {}'",
                                ranks, CONCLAVE_COMM_RANKS, arguments));
}

class GpuRanks : public testing::TestWithParam<int> {};

TEST_P(GpuRanks, EqualPlainLoops) {
  if (const std::string why = gpu_obstacle(); !why.empty()) GTEST_SKIP() << why;
  for (const char* mode : {"cases cuda", "cases checked cuda"}) {
    const Job job = launch(GetParam(), mode);
    EXPECT_EQ(job.exit_code, 0) << job.output;
    EXPECT_EQ(occurrences(job.output, fmt::format("of {} by mpi", GetParam())), GetParam()) << job.output;
  }
}
INSTANTIATE_TEST_SUITE_P(Ranks, GpuRanks, testing::Values(2, 3));

}  // namespace
}  // namespace conclave

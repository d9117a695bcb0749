#include "comm/failure.h"
#include "comm/gpu_transport.h"
#include "comm/launcher.h"
#include "comm/mpi/messenger.h"
#include "comm/mpi/mpi_communicator.h"
#include "comm/mpi/mpi_job.h"
#include "comm/world.h"
#include "device/cuda_device.h"

namespace conclave {
namespace {

class MpiWorld final : public World {
 public:
  MpiWorld(Messenger& messenger, MpiJob& job)
      : World(messenger.rank(), messenger.size()),
        messenger_(messenger),
        ranks_per_machine_(job.ranks_per_machine()),
        gpus_{.settings = [&messenger] { return messenger.settings(); },
              .end_job = [&job](const Failure& failure) { job.fail(failure); }} {}
  const char* transport() const override { return "mpi"; }
  int64_t ranks_per_machine() const override { return ranks_per_machine_; }
  void configure(const CommSettings& settings) override { messenger_.configure(settings); }

 protected:
  std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int64_t>& ranks,
                                           int position) override {
    return with_gpu_transport(std::make_unique<MpiCommunicator>(messenger_, name, ranks, position), gpus_);
  }

 private:
  Messenger& messenger_;
  int64_t ranks_per_machine_;
  GpuTransport gpus_;
};

}  // namespace

bool mpi_is_built_in() { return true; }

void run_launched_rank(const CommSettings& settings, const std::function<void(World&)>& work) {
  MpiJob job;
  Messenger messenger(settings, job.ranks_on_machine());
  use_gpu_of_rank(job.rank_on_machine());
  MpiWorld world(messenger, job);
  try {
    work(world);
    messenger.leave();
    job.leave();
  } catch (...) {
    job.fail(describe_failure(std::current_exception()));
  }
}

}  // namespace conclave

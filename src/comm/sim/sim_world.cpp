#include "comm/call.h"
#include "comm/world.h"

namespace conclave {
namespace {

// Counted by the base class; the stream keeps the tensors as long as a real one does.
class SimCommunicator final : public Communicator {
 public:
  SimCommunicator(const std::string& group, const std::vector<int64_t>& ranks, int position)
      : Communicator(group, ranks, position) {}

 protected:
  void submit(const Stream& stream, CollectiveCall call) override {
    CONCLAVE_CHECK(stream.device().is_sim(), "[comm/sim] '{}' on the device {}", call.name, stream.device().name());
    stream.device().run_on(stream, [call = std::move(call)] {});
  }
  void wait_for_all(CollectiveCall) override {}
};

class SimWorld final : public World {
 public:
  SimWorld(int64_t rank, int64_t size) : World(rank, size) {}
  const char* transport() const override { return "sim"; }

 protected:
  std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int64_t>& ranks,
                                           int position) override {
    return std::make_unique<SimCommunicator>(name, ranks, position);
  }
};

}  // namespace

std::unique_ptr<World> make_sim_world(int64_t rank, int64_t size) {
  CONCLAVE_USER_CHECK(0 <= rank && rank < size, "[comm/sim] --rank {} of --world-size {}; ranks are 0 to {}", rank,
                      size, size - 1);
  return std::make_unique<SimWorld>(rank, size);
}

}  // namespace conclave

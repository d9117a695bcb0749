#include <cstring>

#include "comm/call.h"
#include "comm/world.h"
#include "kernels/elementwise.h"

namespace conclave {
namespace {

class SelfCommunicator final : public Communicator {
 public:
  explicit SelfCommunicator(const std::string& group) : Communicator(group, {0}, 0) {}

 protected:
  void submit(const Stream& stream, CollectiveCall call) override {
    if (stream.device().kind() == DeviceKind::kCuda) {
      if (call.in.defined() && call.in.raw() != call.out.raw()) kernels::cast(stream, {.x = call.in, .y = call.out});
      return;
    }
    stream.device().run_on(stream, [call = std::move(call)] {
      const std::byte* from = call.in.raw();
      if (from != nullptr && from != call.out.raw() && call.in.bytes() > 0) {
        std::memcpy(call.out.raw(), from, static_cast<size_t>(call.in.bytes()));
      }
    });
  }
  void wait_for_all(CollectiveCall) override {}
};

class SelfWorld final : public World {
 public:
  SelfWorld() : World(0, 1) {}
  const char* transport() const override { return "self"; }

 protected:
  std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int64_t>&, int) override {
    return make_self_communicator(name);
  }
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator(const std::string& group) {
  return std::make_unique<SelfCommunicator>(group);
}

std::unique_ptr<World> make_self_world() { return std::make_unique<SelfWorld>(); }

}  // namespace conclave

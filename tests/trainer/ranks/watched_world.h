// A world whose calls are watched: at a chosen call of a chosen iteration something befalls the rank.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/call.h"
#include "comm/world.h"

namespace conclave {

/// Calls `before` with the name of every collective of this rank, before it is issued.
class WatchedWorld final : public World {
 public:
  using Before = std::function<void(const std::string& name)>;
  WatchedWorld(World& world, Before before)
      : World(world.rank(), world.size()), world_(world), before_(std::move(before)) {}
  const char* transport() const override { return world_.transport(); }
  int64_t ranks_per_machine() const override { return world_.ranks_per_machine(); }
  void configure(const CommSettings& settings) override { world_.configure(settings); }

 protected:
  std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int64_t>& ranks, int) override {
    return std::make_unique<Watched>(world_.make(name, ranks), before_);
  }

 private:
  class Watched final : public Communicator {
   public:
    Watched(std::unique_ptr<Communicator> inner, const Before& before)
        : Communicator(inner->group(), inner->world_ranks(), inner->rank()),
          inner_(std::move(inner)),
          before_(before) {}

   protected:
    void submit(const Stream& stream, CollectiveCall call) override {
      before_(call.name);
      const char* name = call.name.c_str();
      switch (call.kind) {
        case CollectiveKind::kAllReduce:
          return inner_->all_reduce(stream, call.in, call.op, name);
        case CollectiveKind::kReduceScatter:
          return inner_->reduce_scatter(stream, call.in, call.send, call.out, name);
        case CollectiveKind::kAllGather:
          return inner_->all_gather(stream, call.in, call.receive, call.out, name);
        case CollectiveKind::kAllToAll:
          return inner_->all_to_all_rows(stream, call.in.view({call.in.element_count(), 1}), call.send,
                                         call.out.view({call.out.element_count(), 1}), call.receive, name);
        case CollectiveKind::kBroadcast:
          return inner_->broadcast(stream, call.in, call.root, name);
        case CollectiveKind::kExchange:
          return inner_->exchange(stream, call.transfers, name);
        case CollectiveKind::kBarrier:
          return inner_->barrier(name);
      }
    }
    void wait_for_all(CollectiveCall call) override {
      before_(call.name);
      inner_->barrier(call.name.c_str());
    }

   private:
    std::unique_ptr<Communicator> inner_;
    const Before& before_;
  };

  World& world_;
  Before before_;
};

}  // namespace conclave

// Ranks as threads, with the one collective that a save needs.
#pragma once

#include <gtest/gtest.h>

#include <barrier>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "comm/communicator.h"

namespace conclave::cases {

struct Meeting {
  explicit Meeting(int count) : size(count), barrier(count), slots(static_cast<size_t>(count)) {}
  int size;
  std::barrier<> barrier;
  std::vector<std::vector<std::byte>> slots;
};

class ThreadRank final : public Communicator {
 public:
  ThreadRank(Meeting& meeting, int rank) : meeting_(&meeting), rank_(rank) {}
  const std::string& group() const override { return group_; }
  int rank() const override { return rank_; }
  int size() const override { return meeting_->size; }
  void all_gather(const Stream&, const Tensor& in, const Tensor& out, const char*) override {
    meeting_->slots[static_cast<size_t>(rank_)].assign(in.raw(), in.raw() + in.bytes());
    meeting_->barrier.arrive_and_wait();
    std::byte* place = out.raw();
    for (const auto& slot : meeting_->slots) {
      std::memcpy(place, slot.data(), slot.size());
      place += slot.size();
    }
    meeting_->barrier.arrive_and_wait();
  }
  void all_reduce(const Stream&, const Tensor&, ReduceOp, const char*) override { FAIL(); }
  void reduce_scatter(const Stream&, const Tensor&, const Tensor&, const char*) override { FAIL(); }
  void all_to_all_rows(const Stream&, const Tensor&, const std::vector<int64_t>&, const Tensor&,
                       const std::vector<int64_t>&, const char*) override {
    FAIL();
  }
  void broadcast(const Stream&, const Tensor&, int, const char*) override { FAIL(); }
  void barrier(const char*) override { meeting_->barrier.arrive_and_wait(); }

 private:
  Meeting* meeting_;
  int rank_;
  std::string group_ = "world";
};

inline void on_ranks(int size, const std::function<void(int, Communicator&, const Stream&)>& work) {
  Meeting meeting(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      const auto device = make_device("cpu");
      ThreadRank world(meeting, rank);
      work(rank, world, device->default_stream());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace conclave::cases

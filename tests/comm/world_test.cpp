// Groups of a world, byte counters, and the world without data.
#include <gtest/gtest.h>

#include <array>

#include "base/error.h"
#include "comm/world.h"

namespace conclave {
namespace {

const MemoryTag kTag{MemoryCategory::kWorkspace, "world test"};

// One call of everything, with sizes that members share unevenly.
void call_everything(World& world, Device& device) {
  Communicator& all = world.all();
  const Stream stream = device.default_stream();
  const int me = all.rank();
  const auto zeros = [&](int64_t count) {
    const Tensor x = Tensor::empty(device, {count}, DType::kF32, kTag);
    if (!device.is_sim()) std::fill_n(x.raw(), x.bytes(), std::byte{0});
    return x;
  };
  all.all_reduce(stream, zeros(10), ReduceOp::kSum, "a");
  all.all_reduce(stream, zeros(10), ReduceOp::kSum, "a");
  all.reduce_scatter(stream, zeros(6), {1, 2, 3}, zeros(me + 1), "b");
  all.all_gather(stream, zeros(me + 1), {1, 2, 3}, zeros(6), "c");
  // Member s sends s + d rows of 2 to member d.
  all.all_to_all_rows(stream, zeros((3 * me + 3) * 2).view({3 * me + 3, 2}), {me, me + 1, me + 2},
                      zeros((3 * me + 3) * 2).view({3 * me + 3, 2}), {me, me + 1, me + 2}, "d");
  all.broadcast(stream, zeros(5), 1, "e");
  if (me == 0) all.send(stream, zeros(7), 2, "f");
  if (me == 2) all.receive(stream, zeros(7), 0, "f");
  all.barrier("g");
}

struct Line {
  CollectiveKind kind;
  std::string name;
  int64_t calls, sent, received;
  std::vector<int64_t> sent_to;
};

std::vector<Line> lines(const Communicator& group) {
  std::vector<Line> out;
  for (const auto& [key, traffic] : group.traffic().by_call()) {
    out.push_back({key.first, key.second, traffic.calls, traffic.bytes_sent, traffic.bytes_received, traffic.sent_to});
  }
  return out;
}

void expect_lines_of_rank_2(const Communicator& group) {
  const std::vector<Line> expected = {
      // Ten elements in pieces of 3, 3 and 4: sends 6, then 4 to two others.
      {CollectiveKind::kAllReduce, "a", 2, 2 * 14 * 4, 2 * 14 * 4, {}},
      {CollectiveKind::kReduceScatter, "b", 1, 3 * 4, 2 * 3 * 4, {}},
      {CollectiveKind::kAllGather, "c", 1, 2 * 3 * 4, 3 * 4, {}},
      {CollectiveKind::kAllToAll, "d", 1, (2 + 3) * 8, (2 + 3) * 8, {2 * 8, 3 * 8, 4 * 8}},
      {CollectiveKind::kBroadcast, "e", 1, 0, 5 * 4, {}},
      {CollectiveKind::kExchange, "f", 1, 0, 7 * 4, {0, 0, 0}},
      {CollectiveKind::kBarrier, "g", 1, 0, 0, {}}};
  const std::vector<Line> got = lines(group);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(expected[i].name);
    EXPECT_EQ(got[i].kind, expected[i].kind);
    EXPECT_EQ(got[i].name, expected[i].name);
    EXPECT_EQ(got[i].calls, expected[i].calls);
    EXPECT_EQ(got[i].sent, expected[i].sent);
    EXPECT_EQ(got[i].received, expected[i].received);
    EXPECT_EQ(got[i].sent_to, expected[i].sent_to);
  }
}

TEST(Traffic, IsCountedByCall) {
  std::array<int64_t, 3> sent{}, received{};
  run_ranks_as_threads({.ranks = 3, .settings = {.check_collectives = true}}, [&](World& world) {
    const auto device = make_device("cpu");
    call_everything(world, *device);
    const OperationTraffic total = world.all().traffic().total();
    sent[static_cast<size_t>(world.rank())] = total.bytes_sent;
    received[static_cast<size_t>(world.rank())] = total.bytes_received;
    if (world.rank() == 2) expect_lines_of_rank_2(world.all());
    if (world.rank() == 0) {
      EXPECT_EQ(world.all().traffic().total(CollectiveKind::kExchange).sent_to[2], 28);
    }
    world.all().traffic().reset();
    EXPECT_EQ(world.all().traffic().total().calls, 0);
  });
  EXPECT_EQ(sent[0] + sent[1] + sent[2], received[0] + received[1] + received[2]);
}

TEST(Sim, CountsWhatARealRankCounts) {
  const auto world = make_sim_world(2, 3);
  const auto device = make_device("sim");
  call_everything(*world, *device);
  expect_lines_of_rank_2(world->all());
  EXPECT_EQ(device->allocator().statistics().current_total, 0);
}

TEST(Sim, HoldsOnlyItsOwnGroups) {
  const auto world = make_sim_world(5, 1 << 20);
  const auto device = make_device("sim");
  Communicator& group = world->group("tp", {4, 5, 6, 7});
  EXPECT_EQ(group.rank(), 1);
  EXPECT_EQ(group.size(), 4);
  EXPECT_EQ(world->groups().size(), 1u);
  EXPECT_THROW(make_sim_world(4, 4), UserError);
}

TEST(World, GivesTheSameGroupAgain) {
  run_ranks_as_threads({.ranks = 2}, [](World& world) {
    Communicator& one = world.group("one", {1, 0});
    EXPECT_EQ(&one, &world.group("one", {1, 0}));
    EXPECT_NE(&one, &world.group("one", {0, 1}));
    EXPECT_NE(&one, &world.group("two", {1, 0}));
    EXPECT_EQ(one.rank(), 1 - world.rank());
    EXPECT_EQ(one.world_ranks(), (std::vector<int64_t>{1, 0}));
    EXPECT_THROW(world.group("not mine", {1 - world.rank()}), InternalError);
    EXPECT_THROW(world.group("twice", {0, 1, 1}), InternalError);
    EXPECT_THROW(world.group("beyond", {0, 1, 2}), InternalError);
  });
}

TEST(Arguments, ThatDoNotFitAreNamed) {
  run_ranks_as_threads({.ranks = 2}, [](World& world) {
    const auto device = make_device("cpu"), other = make_device("cpu");
    const Stream stream = device->default_stream();
    Communicator& all = world.all();
    const Tensor three = Tensor::empty(*device, {3}, DType::kF32, kTag);
    const Tensor halves = Tensor::empty(*device, {3}, DType::kF16, kTag);
    EXPECT_THROW(all.all_reduce(stream, halves, ReduceOp::kSum, "x"), InternalError);
    EXPECT_THROW(all.all_reduce(other->default_stream(), three, ReduceOp::kSum, "x"), InternalError);
    EXPECT_THROW(all.reduce_scatter(stream, three, three, "x"), InternalError);
    EXPECT_THROW(all.all_gather(stream, three, three, "x"), InternalError);
    EXPECT_THROW(all.all_gather(stream, three, {3}, three, "x"), InternalError);
    EXPECT_THROW(all.all_to_all_rows(stream, three, {1, 1}, three, {2, 1}, "x"), InternalError);
    EXPECT_THROW(all.all_to_all_rows(stream, three, {4, -1}, three, {2, 1}, "x"), InternalError);
    EXPECT_THROW(all.broadcast(stream, three, 2, "x"), InternalError);
    EXPECT_THROW(all.send(stream, three, all.rank(), "x"), InternalError);
    EXPECT_EQ(all.traffic().total().calls, 0);
    all.barrier("nothing was sent");
  });
}

}  // namespace
}  // namespace conclave

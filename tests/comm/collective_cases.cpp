#include "comm/collective_cases.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"

namespace conclave::cases {
namespace {

const MemoryTag kTag{MemoryCategory::kWorkspace, "collective test"};
const std::vector<int64_t> kSizes = {0, 1, 3, 64, 1001, 20011};

// What member `member` gives at place i; sums of these depend on their order.
template <typename T>
T given(int member, int64_t i) {
  const uint64_t place = static_cast<uint64_t>(i) * 64 + static_cast<uint64_t>(member) + 1;
  const auto bits = static_cast<uint32_t>(((place * 0x9E3779B97F4A7C15u) ^ (place << 17)) * 0xBF58476D1CE4E5B9u >> 32);
  if constexpr (std::is_same_v<T, BF16>) {
    return to_bf16(std::ldexp(static_cast<float>(bits & 0xffff) - 32768.0f, static_cast<int>(bits >> 29)));
  } else if constexpr (std::is_floating_point_v<T>) {
    return std::ldexp(static_cast<T>(bits & 0xffffff) - T{8388608}, static_cast<int>(bits >> 28));
  } else {
    return static_cast<T>(uint64_t{bits} * 0x9E3779B97F4A7C15u);
  }
}

template <typename T>
std::vector<T> given_values(int member, int64_t count, int64_t first = 0) {
  std::vector<T> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = given<T>(member, first + i);
  return values;
}

// The sum as the header of comm says it is made, one element at a time.
template <typename T>
T expected_reduction(int size, int64_t i, ReduceOp op) {
  if constexpr (std::is_same_v<T, BF16>) {
    float sum = to_float(given<BF16>(0, i));
    for (int member = 1; member < size; ++member) {
      const float value = to_float(given<BF16>(member, i));
      sum = op == ReduceOp::kSum ? sum + value : op == ReduceOp::kMax ? std::max(sum, value) : std::min(sum, value);
    }
    return to_bf16(sum);
  } else {
    T sum = given<T>(0, i);
    for (int member = 1; member < size; ++member) {
      const T value = given<T>(member, i);
      if (op == ReduceOp::kMax) {
        sum = std::max(sum, value);
      } else if (op == ReduceOp::kMin) {
        sum = std::min(sum, value);
      } else if constexpr (std::is_integral_v<T>) {
        sum = static_cast<T>(static_cast<uint64_t>(sum) + static_cast<uint64_t>(value));
      } else {
        sum = sum + value;
      }
    }
    return sum;
  }
}

template <typename T>
void expect_same(const std::vector<T>& got, const std::vector<T>& expected, const std::string& what) {
  CONCLAVE_CHECK(got.size() == expected.size(), "{}: {} elements, expected {}", what, got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    CONCLAVE_CHECK(std::memcmp(&got[i], &expected[i], sizeof(T)) == 0, "{}: element {} of {} is another one", what, i,
                   got.size());
  }
}

struct Place {
  explicit Place(World& w) : world(w), device(make_device(case_device())), stream(device->default_stream()) {}
  World& world;
  std::unique_ptr<Device> device;
  Stream stream;

  template <typename T>
  Tensor tensor(const std::vector<T>& values) {
    Tensor made = from_host<T>(*device, {static_cast<int64_t>(values.size())}, values, kTag);
    device->synchronize();  // side streams may use it
    return made;
  }
  template <typename T>
  Tensor zeros(int64_t count) {
    return tensor(std::vector<T>(static_cast<size_t>(count)));
  }
  // The world, the world backwards, and every second rank.
  std::vector<Communicator*> groups() {
    std::vector<int64_t> backwards, even;
    for (int64_t rank = world.size(); rank-- > 0;) backwards.push_back(rank);
    for (int64_t rank = 0; rank < world.size(); rank += 2) even.push_back(rank);
    std::vector<Communicator*> out = {&world.all(), &world.group("backwards", backwards)};
    if (world.rank() % 2 == 0) out.push_back(&world.group("even", even));
    return out;
  }
};

template <typename T>
void all_reduce(World& world) {
  Place place(world);
  for (Communicator* group : place.groups()) {
    for (const int64_t count : kSizes) {
      for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
        const Tensor x = place.tensor(given_values<T>(group->rank(), count));
        group->all_reduce(place.stream, x, op, "case");
        std::vector<T> expected(static_cast<size_t>(count));
        for (int64_t i = 0; i < count; ++i) {
          expected[static_cast<size_t>(i)] = expected_reduction<T>(group->size(), i, op);
        }
        expect_same(to_host<T>(place.stream, x), expected, group->group());
      }
    }
  }
}

// Pieces of sizes that differ, none among them.
std::vector<int64_t> uneven_pieces(int size, int64_t base) {
  std::vector<int64_t> pieces;
  for (int member = 0; member < size; ++member) pieces.push_back(member % 3 == 1 ? 0 : base + member);
  return pieces;
}

template <typename T>
void scatter_and_gather_pieces(Place& place, Communicator& group, const std::vector<int64_t>& pieces, bool even) {
  const int64_t total = std::accumulate(pieces.begin(), pieces.end(), int64_t{0});
  const auto mine = static_cast<size_t>(group.rank());
  const int64_t begin = std::accumulate(pieces.begin(), pieces.begin() + static_cast<ptrdiff_t>(mine), int64_t{0});
  std::vector<T> sums(static_cast<size_t>(total));
  for (int64_t i = 0; i < total; ++i) {
    sums[static_cast<size_t>(i)] = expected_reduction<T>(group.size(), i, ReduceOp::kSum);
  }
  const std::vector<T> my_sums(sums.begin() + begin, sums.begin() + begin + pieces[mine]);
  for (const bool in_place : {false, true}) {
    const Tensor in = place.tensor(given_values<T>(group.rank(), total));
    const Tensor out = in_place ? in.flat_slice(begin, pieces[mine]) : place.zeros<T>(pieces[mine]);
    even ? group.reduce_scatter(place.stream, in, out, "case")
         : group.reduce_scatter(place.stream, in, pieces, out, "case");
    expect_same(to_host<T>(place.stream, out), my_sums, group.group() + " scatter");
    const Tensor all = in_place ? in : place.zeros<T>(total);
    even ? group.all_gather(place.stream, out, all, "case") : group.all_gather(place.stream, out, pieces, all, "case");
    expect_same(to_host<T>(place.stream, all), sums, group.group() + " gather");
  }
}

template <typename T>
void scatter_and_gather(World& world) {
  Place place(world);
  for (Communicator* group : place.groups()) {
    for (const int64_t count : kSizes) {
      const std::vector<int64_t> even(static_cast<size_t>(group->size()), count);
      scatter_and_gather_pieces<T>(place, *group, even, true);
      scatter_and_gather_pieces<T>(place, *group, uneven_pieces(group->size(), count), false);
    }
  }
}

// So long that a transport takes them in several chunks, of pieces that differ.
void long_reductions(World& world) {
  Place place(world);
  Communicator& all = world.all();
  constexpr int64_t kCount = 3'000'017;
  std::vector<float> expected(kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    expected[static_cast<size_t>(i)] = expected_reduction<float>(all.size(), i, ReduceOp::kSum);
  }
  const std::vector<float> mine = given_values<float>(all.rank(), kCount);
  const Tensor x = place.tensor(mine);
  all.all_reduce(place.stream, x, ReduceOp::kSum, "long");
  expect_same(to_host<float>(place.stream, x), expected, "long all_reduce");
  std::vector<int64_t> pieces(static_cast<size_t>(all.size()), 5);
  pieces.back() = kCount - 5 * (all.size() - 1);
  const Tensor in = place.tensor(mine), out = place.zeros<float>(pieces[static_cast<size_t>(all.rank())]);
  all.reduce_scatter(place.stream, in, pieces, out, "long");
  const auto begin = expected.begin() + 5 * all.rank();
  expect_same(to_host<float>(place.stream, out), std::vector<float>(begin, begin + out.element_count()),
              "long reduce_scatter");
}

// Rows that `from` sends to `to`.
int64_t row_count(int from, int to, int64_t base) { return (from * 7 + to * 3) % 4 == 0 ? 0 : base + from + 2 * to; }

template <typename T>
void all_to_all(World& world) {
  Place place(world);
  for (Communicator* group : place.groups()) {
    const int size = group->size(), me = group->rank();
    for (const int64_t base : {int64_t{0}, int64_t{5}, int64_t{300}}) {
      for (const int64_t width : {int64_t{1}, int64_t{33}}) {
        std::vector<int64_t> send, receive;
        std::vector<T> expected;
        for (int peer = 0; peer < size; ++peer) {
          send.push_back(row_count(me, peer, base));
          receive.push_back(row_count(peer, me, base));
          int64_t first = 0;
          for (int to = 0; to < me; ++to) first += row_count(peer, to, base);
          const auto rows = given_values<T>(peer, receive.back() * width, first * width);
          expected.insert(expected.end(), rows.begin(), rows.end());
        }
        const int64_t sent = std::accumulate(send.begin(), send.end(), int64_t{0});
        const int64_t received = std::accumulate(receive.begin(), receive.end(), int64_t{0});
        const Tensor in = place.tensor(given_values<T>(me, sent * width)).view({sent, width});
        const Tensor out = place.zeros<T>(received * width).view({received, width});
        group->all_to_all_rows(place.stream, in, send, out, receive, "case");
        expect_same(to_host<T>(place.stream, out), expected, group->group());
      }
    }
  }
}

template <typename T>
void broadcast(World& world) {
  Place place(world);
  for (Communicator* group : place.groups()) {
    for (const int64_t count : kSizes) {
      for (int root = 0; root < group->size(); ++root) {
        const Tensor x = place.tensor(given_values<T>(group->rank(), count));
        group->broadcast(place.stream, x, root, "case");
        expect_same(to_host<T>(place.stream, x), given_values<T>(root, count), group->group());
      }
    }
  }
}

// Everybody sends to everybody, two messages per pair, all posted at once.
template <typename T>
void exchange(World& world) {
  Place place(world);
  for (Communicator* group : place.groups()) {
    const int me = group->rank();
    for (const int64_t count : kSizes) {
      std::vector<Transfer> transfers;
      for (int peer = 0; peer < group->size(); ++peer) {
        if (peer == me) continue;
        for (const int64_t part : {0, 1}) {
          const int64_t length = count + part + me;
          transfers.push_back(
              {Transfer::Direction::kSend, peer, place.tensor(given_values<T>(me, length, peer + part))});
          transfers.push_back({Transfer::Direction::kReceive, peer, place.zeros<T>(count + part + peer)});
        }
      }
      group->exchange(place.stream, transfers, "case");
      size_t index = 0;
      for (int peer = 0; peer < group->size(); ++peer) {
        if (peer == me) continue;
        for (const int64_t part : {0, 1}) {
          const Tensor& got = transfers[2 * index++ + 1].tensor;
          expect_same(to_host<T>(place.stream, got), given_values<T>(peer, count + part + peer, me + part),
                      group->group());
        }
      }
    }
  }
}

// A chain: each waits for the one before it.
void send_and_receive(World& world) {
  Place place(world);
  Communicator& all = world.all();
  for (const int64_t count : kSizes) {
    const Tensor x = place.zeros<float>(count);
    if (all.rank() == 0) copy_from_host<float>(place.stream, x, given_values<float>(0, count));
    if (all.rank() > 0) all.receive(place.stream, x, all.rank() - 1, "chain");
    if (all.rank() + 1 < all.size()) all.send(place.stream, x, all.rank() + 1, "chain");
    expect_same(to_host<float>(place.stream, x), given_values<float>(0, count), "chain");
  }
}

void nan_survives(World& world) {
  Place place(world);
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
    for (int bad = 0; bad < world.all().size(); ++bad) {
      const Tensor x = place.tensor<float>({1.0f, bad == world.all().rank() ? NAN : 2.0f});
      const Tensor y = place.tensor<BF16>({bad == world.all().rank() ? to_bf16(NAN) : to_bf16(2.0f)});
      world.all().all_reduce(place.stream, x, op, "nan");
      world.all().all_reduce(place.stream, y, op, "nan");
      CONCLAVE_CHECK(!std::isnan(to_host<float>(place.stream, x)[0]), "a number became NaN");
      CONCLAVE_CHECK(std::isnan(to_host<float>(place.stream, x)[1]), "a NaN was lost");
      CONCLAVE_CHECK(std::isnan(to_float(to_host<BF16>(place.stream, y)[0])), "a NaN was lost in bf16");
    }
  }
}

// Many calls of several groups on side streams while the default stream has its own.
void side_streams(World& world) {
  Place place(world);
  const Stream one = place.device->make_stream("one"), two = place.device->make_stream("two");
  Communicator& all = world.all();
  Communicator& other = world.group("other", all.world_ranks());
  std::vector<Tensor> tensors;
  for (int64_t i = 0; i < 30; ++i) {
    tensors.push_back(place.tensor(given_values<float>(all.rank(), 100 + i)));
    Communicator& group = i % 2 == 0 ? all : other;
    const Stream& stream = i % 3 == 0 ? place.stream : i % 3 == 1 ? one : two;
    group.all_reduce(stream, tensors.back(), ReduceOp::kSum, "mixed");
  }
  const auto event = place.device->make_event();
  event->record(one);
  event->wait_on(two);
  event->record(two);
  event->wait_on(place.stream);
  for (const Tensor& tensor : tensors) {
    std::vector<float> expected;
    for (int64_t i = 0; i < tensor.element_count(); ++i) {
      expected.push_back(expected_reduction<float>(all.size(), i, ReduceOp::kSum));
    }
    expect_same(to_host<float>(place.stream, tensor), expected, "mixed");
  }
}

// The host goes on while a side stream waits: rank 0's word sets the others free to come.
void overlap(World& world) {
  Place place(world);
  Communicator& all = world.all();
  const Stream side = place.device->make_stream("side");
  const Tensor x = place.tensor(given_values<float>(all.rank(), 5000)), word = place.zeros<int32_t>(1);
  const auto event = place.device->make_event();
  if (all.rank() == 0) {
    all.all_reduce(side, x, ReduceOp::kSum, "overlapped");
    event->record(side);
    CONCLAVE_CHECK(all.size() == 1 || !event->is_reached(), "done before the others came");
    for (int peer = 1; peer < all.size(); ++peer) all.send(place.stream, word, peer, "word");
  } else {
    all.receive(place.stream, word, 0, "word");
    all.all_reduce(side, x, ReduceOp::kSum, "overlapped");
    event->record(side);
  }
  event->wait_on(place.stream);
  std::vector<float> expected;
  for (int64_t i = 0; i < 5000; ++i) expected.push_back(expected_reduction<float>(all.size(), i, ReduceOp::kSum));
  expect_same(to_host<float>(place.stream, x), expected, "overlapped");
}

void barriers(World& world) {
  for (int i = 0; i < 20; ++i) world.all().barrier("case");
}

}  // namespace

std::string& case_device() {
  static std::string name = "cpu";
  return name;
}

#define CONCLAVE_CASES_OF(function)                                                                               \
  {#function " f32", function<float>}, {#function " f64", function<double>}, {#function " bf16", function<BF16>}, \
      {#function " i32", function<int32_t>}, {#function " i64", function<int64_t>}, {                             \
#function " u8", function < uint8_t>                                                                          \
  }

const std::vector<CollectiveCase>& collective_cases() {
  static const std::vector<CollectiveCase> cases = {CONCLAVE_CASES_OF(all_reduce),
                                                    CONCLAVE_CASES_OF(scatter_and_gather),
                                                    CONCLAVE_CASES_OF(all_to_all),
                                                    CONCLAVE_CASES_OF(broadcast),
                                                    CONCLAVE_CASES_OF(exchange),
                                                    {"send and receive", send_and_receive},
                                                    {"long reductions", long_reductions},
                                                    {"nan survives", nan_survives},
                                                    {"side streams", side_streams},
                                                    {"overlap", overlap},
                                                    {"barriers", barriers}};
  return cases;
}

}  // namespace conclave::cases

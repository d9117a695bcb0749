#include "data/random.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace conclave {
namespace {

// Drawing does not look at the array, so a block of partners is drawn first and their cache lines fetched meanwhile.
constexpr int kDrawAhead = 64;

template <typename T>
void numpy_shuffle(NumpyRandomState& random, std::span<T> values) {
  std::array<size_t, kDrawAhead> partner;
  size_t last = values.size();
  while (last > 1) {
    const size_t block = std::min<size_t>(kDrawAhead, last - 1);
    for (size_t k = 0; k < block; ++k) {
      partner[k] = random.interval(last - 1 - k);
      __builtin_prefetch(&values[partner[k]], 1);
    }
    for (size_t k = 0; k < block; ++k) std::swap(values[last - 1 - k], values[partner[k]]);
    last -= block;
  }
}

// SeedSequence: hashes the seed into a pool of four words, then the pool into as many words as are wanted.
std::array<uint32_t, 8> seed_sequence(uint32_t seed) {
  constexpr size_t kPool = 4;
  uint32_t constant = 0x43b0d7e5u;
  const auto hashed = [&constant](uint32_t value) {
    value ^= constant;
    constant *= 0x931e8875u;
    value *= constant;
    return value ^ (value >> 16);
  };
  std::array<uint32_t, kPool> pool;
  for (size_t i = 0; i < kPool; ++i) pool[i] = hashed(i == 0 ? seed : 0u);
  for (size_t source = 0; source < kPool; ++source) {
    for (size_t target = 0; target < kPool; ++target) {
      if (source == target) continue;
      const uint32_t mixed = 0xca01f9ddu * pool[target] - 0x4973f715u * hashed(pool[source]);
      pool[target] = mixed ^ (mixed >> 16);
    }
  }
  std::array<uint32_t, 8> out;
  uint32_t out_constant = 0x8b51f9ddu;
  for (size_t i = 0; i < out.size(); ++i) {
    uint32_t value = pool[i % kPool] ^ out_constant;
    out_constant *= 0x58f38dedu;
    value *= out_constant;
    out[i] = value ^ (value >> 16);
  }
  return out;
}

}  // namespace

uint64_t NumpyRandomState::interval(uint64_t max) {
  if (max == 0) return 0;
  const uint64_t mask = std::bit_ceil(max + 1) - 1;
  uint64_t value;
  if (max <= 0xffffffffu) {
    do value = engine_() & mask;
    while (value > max);
    return value;
  }
  do {
    value = static_cast<uint64_t>(engine_()) << 32;
    value = (value | engine_()) & mask;
  } while (value > max);
  return value;
}

void NumpyRandomState::shuffle(std::span<int32_t> values) { numpy_shuffle(*this, values); }
void NumpyRandomState::shuffle(std::span<uint32_t> values) { numpy_shuffle(*this, values); }
void NumpyRandomState::shuffle(std::span<int64_t> values) { numpy_shuffle(*this, values); }

NumpyGenerator::NumpyGenerator(uint32_t seed) {
  const std::array<uint32_t, 8> words = seed_sequence(seed);
  const auto wide = [&words](size_t i) { return static_cast<uint64_t>(words[2 * i + 1]) << 32 | words[2 * i]; };
  const unsigned __int128 start = static_cast<unsigned __int128>(wide(0)) << 64 | wide(1);
  const unsigned __int128 stream = static_cast<unsigned __int128>(wide(2)) << 64 | wide(3);
  increment_ = stream << 1 | 1;
  step();
  state_ += start;
  step();
}

void NumpyGenerator::step() {
  constexpr unsigned __int128 kMultiplier =
      static_cast<unsigned __int128>(0x2360ed051fc65da4u) << 64 | 0x4385df649fccf645u;
  state_ = state_ * kMultiplier + increment_;
}

uint64_t NumpyGenerator::next64() {
  step();
  const uint64_t high = static_cast<uint64_t>(state_ >> 64), low = static_cast<uint64_t>(state_);
  return std::rotr(high ^ low, static_cast<int>(high >> 58));
}

uint32_t NumpyGenerator::next32() {
  if (std::exchange(has_half_, !has_half_)) return half_;
  const uint64_t value = next64();
  half_ = static_cast<uint32_t>(value >> 32);
  return static_cast<uint32_t>(value);
}

int32_t NumpyGenerator::integer(int32_t low, int32_t high) {
  CONCLAVE_CHECK(low < high, "empty range [{}, {})", low, high);
  const uint32_t range = static_cast<uint32_t>(high) - static_cast<uint32_t>(low);
  if (range == 1) return low;
  uint64_t product = static_cast<uint64_t>(next32()) * range;
  if (static_cast<uint32_t>(product) < range) {
    const uint32_t threshold = (0u - range) % range;
    while (static_cast<uint32_t>(product) < threshold) product = static_cast<uint64_t>(next32()) * range;
  }
  return static_cast<int32_t>(static_cast<uint32_t>(low) + static_cast<uint32_t>(product >> 32));
}

std::vector<uint32_t> torch_randperm(int64_t count, uint64_t seed) {
  CONCLAVE_CHECK(count >= 0 && count <= 0xffffffffll, "permutation of {} numbers", count);
  std::mt19937 engine(static_cast<uint32_t>(seed));
  std::vector<uint32_t> order(static_cast<size_t>(count));
  // From 2^32 / 20 on, the remainder of a 32-bit number is too uneven, and PyTorch changes its way.
  if (count < 0xffffffffll / 20) {
    std::iota(order.begin(), order.end(), 0u);
    for (int64_t i = 0; i < count - 1; ++i) {
      const int64_t other =
          i + static_cast<int64_t>(static_cast<uint32_t>(engine()) % static_cast<uint64_t>(count - i));
      std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(other)]);
    }
    return order;
  }
  for (uint64_t i = 0; i < static_cast<uint64_t>(count); ++i) {
    const uint64_t high = static_cast<uint32_t>(engine());
    const uint64_t other = (high << 32 | static_cast<uint32_t>(engine())) % (i + 1);
    order[i] = order[other];
    order[other] = static_cast<uint32_t>(i);
  }
  return order;
}

}  // namespace conclave

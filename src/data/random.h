// Random numbers of other packages, bit for bit, because the order of samples is defined by them.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace conclave {

/// NumPy's legacy generator, numpy.random.RandomState(seed): MT19937 (Matsumoto and Nishimura 1998), bounded numbers by
/// masking and rejection.
class NumpyRandomState {
 public:
  explicit NumpyRandomState(uint32_t seed) : engine_(seed) {}
  /// Uniform in [0, max].
  uint64_t interval(uint64_t max);
  /// As RandomState.shuffle on a one-dimensional array: Fisher-Yates from the end.
  void shuffle(std::span<int32_t> values);
  void shuffle(std::span<uint32_t> values);
  void shuffle(std::span<int64_t> values);

 private:
  std::mt19937 engine_;
};

/// NumPy's default generator, numpy.random.default_rng(seed): PCG64 XSL-RR (O'Neill 2014) seeded by SeedSequence.
class NumpyGenerator {
 public:
  explicit NumpyGenerator(uint32_t seed);
  /// Generator.integers(low, high, dtype=int32): uniform in [low, high), Lemire's method on 32-bit halves.
  int32_t integer(int32_t low, int32_t high);

 private:
  uint64_t next64();
  uint32_t next32();
  void step();

  unsigned __int128 state_ = 0;
  unsigned __int128 increment_ = 0;
  bool has_half_ = false;
  uint32_t half_ = 0;
};

/// torch.randperm(count) of a CPU generator seeded with `seed`; count < 2^32.
std::vector<uint32_t> torch_randperm(int64_t count, uint64_t seed);

}  // namespace conclave

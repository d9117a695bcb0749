// Sixteen rows of sixteen lanes, turned in registers.
#pragma once

#include "kernels/cpu/vector.h"

namespace conclave::kernels::cpu {

inline void transpose(VecF (&rows)[kLanes]) {
  const auto exchange = [&](auto step, auto first, auto second) CONCLAVE_INLINE_LAMBDA {
#pragma GCC unroll 16
    for (size_t i = 0; i < kLanes; ++i) {
      if ((i & step()) != 0) continue;
      const VecF a = rows[i], b = rows[i + step()];
      rows[i] = first(a, b);
      rows[i + step()] = second(a, b);
    }
  };
#define CONCLAVE_EXCHANGE(step, low, high)                                                         \
  exchange([] { return size_t{step}; }, [](VecF a, VecF b) CONCLAVE_INLINE_LAMBDA { return low; }, \
           [](VecF a, VecF b) CONCLAVE_INLINE_LAMBDA { return high; })
#define CONCLAVE_LANES(...) __builtin_shufflevector(a, b, __VA_ARGS__)
  CONCLAVE_EXCHANGE(1, CONCLAVE_LANES(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
                    CONCLAVE_LANES(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31));
  CONCLAVE_EXCHANGE(2, CONCLAVE_LANES(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
                    CONCLAVE_LANES(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31));
  CONCLAVE_EXCHANGE(4, CONCLAVE_LANES(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
                    CONCLAVE_LANES(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31));
  CONCLAVE_EXCHANGE(8, CONCLAVE_LANES(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
                    CONCLAVE_LANES(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
#undef CONCLAVE_LANES
#undef CONCLAVE_EXCHANGE
}

}  // namespace conclave::kernels::cpu

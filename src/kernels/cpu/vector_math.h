// Functions of sixteen floats at once. Polynomials were fitted here by weighted least squares iterated to the minimax;
// relative errors are those measured by tests/kernels/vector_math_test.cpp.
#pragma once

#include "kernels/cpu/vector.h"

namespace conclave::kernels::cpu {

/// 2^x; relative error < 2e-7. Exactly 0 for x <= -126 (and -infinity), infinity from 128 on; NaN stays.
inline VecF exp2(VecF x) {
  x = maximum(x, broadcast(-126.0f));
  x = minimum(x, broadcast(129.0f));
  // Adding 1.5·2^23 rounds to the nearest whole number and leaves it in the low bits.
  const VecF shifted = x + 0x1.8p23f;
  const VecI whole = std::bit_cast<VecI>(shifted) - std::bit_cast<int32_t>(0x1.8p23f);
  const VecF r = x - (shifted - 0x1.8p23f);
  VecF p = broadcast(0.000153533606f);
  p = p * r + 0.00133988749f;
  p = p * r + 0.00961843737f;
  p = p * r + 0.0555033247f;
  p = p * r + 0.240226479f;
  p = p * r + 0.693147203f;
  p = p * r + 1.0f;
  // 2^(whole-1), then doubled: whole = 128 has no float of its own, and whole = -126 becomes exactly zero.
  const VecF power = std::bit_cast<VecF>((whole + 126) << 23);
  return p * power * 2.0f;
}

/// 2^x for x <= 127, with fewer steps; relative error < 3e-7. Exactly 0 for x <= -127 (and -infinity); NaN stays.
inline VecF exp2_below_127(VecF x) {
  x = maximum(x, broadcast(-127.0f));
  // The rounding constant carries the exponent's bias as well.
  constexpr float kRound = 0x1.8p23f + 127.0f;
  const VecF shifted = x + kRound;
  const VecF r = x - (shifted - kRound);
  VecF p = broadcast(0.00132647269f);
  p = p * r + 0.00967151266f;
  p = p * r + 0.0555073374f;
  p = p * r + 0.240222421f;
  p = p * r + 0.693146978f;
  p = p * r + 1.0f;
  return p * std::bit_cast<VecF>(std::bit_cast<VecI>(shifted) << 23);
}

namespace detail {
struct ReducedExponent {
  VecF rest, shifted;
};
// x = whole * ln 2 + rest, with the whole number, and the exponent's bias, in the low bits of `shifted`. The two parts
// of ln 2 leave rest all its digits, with and without fused multiply-adds.
inline ReducedExponent reduce_exponent(VecF x) {
  x = maximum(x, broadcast(-88.03f));
  x = minimum(x, broadcast(88.9f));
  constexpr float kRound = 0x1.8p23f + 127.0f;
  const VecF shifted = x * 1.44269504f + kRound, whole = shifted - kRound;
  return {(x - whole * 0.693359375f) - whole * -2.12194440e-4f, shifted};
}
inline VecF exp_of_reduced(VecF rest, VecF shifted) {
  VecF p = broadcast(0.00138146083f);
  p = p * rest + 0.00836871134f;
  p = p * rest + 0.0416683875f;
  p = p * rest + 0.166665207f;
  p = p * rest + 0.499999935f;
  p = p * rest + 1.0f;
  p = p * rest + 1.0f;
  return p * std::bit_cast<VecF>(std::bit_cast<VecI>(shifted) << 23);
}
}  // namespace detail

/// e^x; relative error < 2e-7. Exactly 0 for x <= -88 (and -infinity), infinity above 88.37; NaN stays.
inline VecF exp(VecF x) {
  const detail::ReducedExponent reduced = detail::reduce_exponent(x);
  return detail::exp_of_reduced(reduced.rest, reduced.shifted);
}

/// e^(x + rest) for |rest| < 0.03: what a float cannot hold of an exponent may be given apart.
inline VecF exp_of_sum(VecF x, VecF rest) {
  const detail::ReducedExponent reduced = detail::reduce_exponent(x);
  return detail::exp_of_reduced(reduced.rest + rest, reduced.shifted);
}

/// 1 / (1 + e^-x).
inline VecF sigmoid(VecF x) { return 1.0f / (1.0f + exp(-x)); }

/// sin x and cos x; absolute error < 1e-7 for |x| < 1e6.
struct SineCosine {
  VecF sine;
  VecF cosine;
};
namespace detail {
// Of eight angles: what is left of whole quarter turns, and how many there were.
struct Quarters {
  Half rest;
  int32_t __attribute__((vector_size(32))) count;
};
inline Quarters quarter_turns(Half x) {
  const VecD wide = __builtin_convertvector(x, VecD);
  const VecD shifted = wide * 0.63661977236758134 + 0x1.8p52;
  const VecD rest = wide - (shifted - 0x1.8p52) * 1.5707963267948966;
  using Long = int64_t __attribute__((vector_size(64)));
  return {__builtin_convertvector(rest, Half),
          __builtin_convertvector(std::bit_cast<Long>(shifted), decltype(Quarters::count))};
}
}  // namespace detail
inline SineCosine sine_cosine(VecF x) {
  const detail::Quarters a = detail::quarter_turns(detail::low_half(x));
  const detail::Quarters b = detail::quarter_turns(detail::high_half(x));
  const VecF r = __builtin_shufflevector(a.rest, b.rest, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const VecI n = __builtin_shufflevector(a.count, b.count, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const VecF square = r * r;
  VecF sine = broadcast(-0.000195164789f);
  sine = sine * square + 0.00833217227f;
  sine = sine * square - 0.166666549f;
  sine = sine * square * r + r;
  VecF cosine = broadcast(2.44375309e-05f);
  cosine = cosine * square - 0.00138873598f;
  cosine = cosine * square + 0.0416666467f;
  cosine = cosine * square * square + (1.0f - 0.5f * square);
  const VecI odd = (n & 1) != 0;
  const VecF first = select(odd, cosine, sine), second = select(odd, sine, cosine);
  return {select((n & 2) != 0, -first, first), select(((n + 1) & 2) != 0, -second, second)};
}

/// Φ(x) and φ(x) of the standard normal distribution; Φ keeps its relative accuracy (< 1e-6) far into the left tail.
struct NormalCurve {
  VecF cumulative;
  VecF density;
};
inline NormalCurve normal_curve(VecF x) {
  const VecF magnitude = minimum(x < 0.0f ? -x : x, broadcast(16.0f));
  // x² = high² + (x + high)(x - high), where high has so few digits that its square is exact: the exponent of
  // e^(-x²/2) needs more digits than a float has.
  const VecF high = std::bit_cast<VecF>(std::bit_cast<VecU>(magnitude) & 0xfffff000u);
  const VecF tail = exp_of_sum(-0.5f * (high * high), -0.5f * ((magnitude + high) * (magnitude - high)));
  // Φ(-|x|) = e^(-x²/2) t p(t), t = 3/(3+|x|).
  const VecF t = 3.0f / (3.0f + magnitude);
  VecF p = broadcast(-0.0227640296f);
  p = p * t + 0.129594871f;
  p = p * t + -0.271278395f;
  p = p * t + 0.218955154f;
  p = p * t + -0.0533718227f;
  p = p * t + 0.119916288f;
  p = p * t + 0.112417949f;
  p = p * t + 0.133575129f;
  p = p * t + 0.132954879f;
  const VecF left = tail * (t * p);
  return {x < 0.0f ? left : 1.0f - left, tail * 0.398942280f};
}

}  // namespace conclave::kernels::cpu

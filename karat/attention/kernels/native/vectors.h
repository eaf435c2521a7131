// Vectors of float32 and elementary functions of them, without branches.
//
// The compiler's vector extensions are used, so that speed does not depend on automatic
// vectorisation. Functions have an error of about 1e-7, of their value or of 1; NaN gives NaN. The
// overloads for one float are for what is computed once per unit.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>  // half of the time to compile a basis, so only where a builtin is not enough
#endif

namespace karat {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
using Floats = float __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
using Doubles = double __attribute__((vector_size(8 * kLanes)));
using Integers = int32_t __attribute__((vector_size(4 * kLanes)));

inline const Floats& vector_at(const float* from) { return *reinterpret_cast<const Floats*>(from); }
inline Floats& vector_at(float* from) { return *reinterpret_cast<Floats*>(from); }

inline Floats wide(float x) { return x - Floats{}; }
inline const Floats& wide(const Floats& x) { return x; }

inline float sum_of(const Floats& x) {
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += x[i];
  return total;
}

inline bool any(const Integers& mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX__)
  return __builtin_ia32_movmskps256(reinterpret_cast<Floats>(mask)) != 0;
#else
  int32_t found = 0;
  for (int i = 0; i < kLanes; ++i) found |= mask[i];
  return found != 0;
#endif
}

inline Floats select(const Integers& mask, const Floats& a, const Floats& b) { return mask ? a : b; }
inline Floats select(bool mask, const Floats& a, const Floats& b) { return mask ? a : b; }
inline float select(bool mask, float a, float b) { return mask ? a : b; }

inline Floats maximum(const Floats& a, const Floats& b) { return a < b ? b : a; }
inline float maximum(float a, float b) { return a < b ? b : a; }

inline Floats absolute(const Floats& x) {
  return reinterpret_cast<Floats>(reinterpret_cast<Integers>(x) & 0x7fffffff);
}
inline float absolute(float x) { return std::fabs(x); }

inline Floats signum(const Floats& x) {
  const Floats zero = {}, one = zero + 1.0f;
  return x > 0.0f ? one : (x < 0.0f ? -one : zero);
}
inline float signum(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f; }

// Exact below 2^22 in absolute value, which is far beyond the cells of any grid.
inline Floats floor_of(const Floats& x) {
  constexpr float kNearest = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const Floats near = (x + kNearest) - kNearest;
  const Floats down = near > x ? near - 1.0f : near;
  return absolute(x) < 4194304.0f ? down : x;
}
inline float floor_of(float x) { return std::floor(x); }

// The angle modulo 2 pi, reduced in double precision, which is exact enough for all scores below 2^30.
// Float32 numbers from there on are 128 apart and do not determine an angle: they count as 0. x * 0
// keeps NaN, and makes infinity NaN.
__attribute__((noinline, unused)) static Floats reduced(const Floats& x) {
  constexpr double kNearest = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  constexpr float kLargest = 1073741824.0f;        // 2^30
  const Integers tells = (x < kLargest) & (x > -kLargest);
  const Doubles angle = __builtin_convertvector(tells ? x : x * 0.0f, Doubles);
  const Doubles turns = (angle * 0.15915494309189533577 + kNearest) - kNearest;
  return __builtin_convertvector(angle - turns * 6.28318530717958647693, Floats);
}

// Below 8192, where products of the turns with the first two parts of pi are exact, single precision
// is enough to reduce an angle.
inline Floats of_small_angle(const Floats& x) {
  const Integers small = absolute(x) < 8192.0f;
  if (any(~small)) [[unlikely]]
    return reduced(x);
  return x;
}

// Sines of `turns` half turns, an integer or an integer and a half, subtracted from x; the sign bit is
// in the lowest bit of `sign`.
inline Floats sine_in_half_turn(const Floats& x, const Floats& turns, const Integers& sign) {
  const Floats r =
      ((x - turns * 3.140625f) - turns * 9.67502593994140625e-4f) - turns * 1.509957990978376e-7f;
  const Floats z = r * r;
  const Floats sine =
      r + r * z *
              (-0.16666667f +
               z * (0.0083333310f +
                    z * (-0.00019840874f + z * (2.7525562e-06f - z * 2.3889859e-08f))));
  return reinterpret_cast<Floats>(reinterpret_cast<Integers>(sine) ^ (sign << 31));
}

inline Floats sine(const Floats& x) {
  constexpr float kNearest = 12582912.0f;
  const Floats angle = of_small_angle(x);
  const Floats shifted = angle * 0.318309886f + kNearest;
  // The lowest bits of the shifted number are those of the integer.
  return sine_in_half_turn(angle, shifted - kNearest, reinterpret_cast<Integers>(shifted));
}
inline float sine(float x) { return std::sin(x); }

inline Floats cosine(const Floats& x) {
  constexpr float kNearest = 12582912.0f;
  const Floats angle = of_small_angle(x);
  const Floats shifted = (angle * 0.318309886f + 0.5f) + kNearest;
  return sine_in_half_turn(angle, (shifted - kNearest) - 0.5f, reinterpret_cast<Integers>(shifted));
}
inline float cosine(float x) { return std::cos(x); }

// Both at once: polynomials of the Cephes library on [-pi/4, pi/4], then the quadrant.
inline void sine_and_cosine(const Floats& x, Floats& s, Floats& c) {
  constexpr float kNearest = 12582912.0f;
  const Floats angle = of_small_angle(x);
  const Floats shifted = angle * 0.636619772f + kNearest;
  const Floats quarters = shifted - kNearest;
  const Floats r = ((angle - quarters * 1.5703125f) - quarters * 4.837512969970703125e-4f) -
                   quarters * 7.549789954891882e-8f;
  const Floats z = r * r;
  const Floats sine =
      r + r * z * (-1.6666654611e-1f + z * (8.3321608736e-3f - z * 1.9515295891e-4f));
  const Floats cosine = 1.0f - 0.5f * z +
                        z * z *
                            (4.166664568298827e-2f +
                             z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f));
  const Integers quadrant = reinterpret_cast<Integers>(shifted);
  const Integers swap = (quadrant & 1) != 0;
  const Integers even = reinterpret_cast<Integers>(swap ? cosine : sine);
  const Integers odd = reinterpret_cast<Integers>(swap ? sine : cosine);
  s = reinterpret_cast<Floats>(even ^ ((quadrant & 2) << 30));
  c = reinterpret_cast<Floats>(odd ^ (((quadrant + 1) & 2) << 30));
}
inline void sine_and_cosine(float x, float& s, float& c) { s = std::sin(x), c = std::cos(x); }

// Cephes, `expf`. From 88.7 on the largest number, and below -87.3 the smallest normal one.
inline Floats exponential(const Floats& x) {
  const Floats high = x > 88.3762626647949f ? wide(88.3762626647949f) : x;
  const Floats held = high < -87.3365447504019f ? wide(-87.3365447504019f) : high;
  constexpr float kNearest = 12582912.0f;
  const Floats shifted = held * 1.44269504088896341f + kNearest;
  const Floats n = shifted - kNearest;
  const Floats r = (held - n * 0.693359375f) + n * 2.12194440e-4f;
  const Floats p =
      1.0f + r +
      r * r *
          (5.0000001201e-1f +
           r * (1.6666665459e-1f +
                r * (4.1665795894e-2f +
                     r * (8.3334519073e-3f + r * (1.3981999507e-3f + r * 1.9875691500e-4f)))));
  // 2^n: the integer is in the lowest bits of the shifted number; the exponent's bias is 127.
  const Integers power = (reinterpret_cast<Integers>(shifted) << 23) + (127 << 23);
  return p * reinterpret_cast<Floats>(power);
}
inline float exponential(float x) { return std::exp(x); }

inline Floats sigmoid(const Floats& x) { return 1.0f / (1.0f + exponential(-x)); }
inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

// A quotient of polynomials near 0, where the other form cancels.
inline Floats hyperbolic_tangent(const Floats& x) {
  const Floats z = x * x;
  const Floats near = x + x * z *
                              (-3.33332819422e-1f +
                               z * (1.33314422036e-1f +
                                    z * (-5.37397155531e-2f +
                                         z * (2.06390887954e-2f - z * 5.70498872745e-3f))));
  const Floats size = absolute(x);
  const Floats far = 1.0f - 2.0f / (exponential(size + size) + 1.0f);
  return size < 0.625f ? near : (x < 0.0f ? -far : far);
}
inline float hyperbolic_tangent(float x) { return std::tanh(x); }

// Abramowitz and Stegun 7.1.26 has too large an error (1.5e-7 of 1); this is a quotient of odd
// polynomials on [-4, 4], where the function has reached 1 to within a float.
inline Floats error_function(const Floats& x) {
  const Floats high = x > 4.0f ? wide(4.0f) : x;
  const Floats t = high < -4.0f ? wide(-4.0f) : high;
  const Floats z = t * t;
  const Floats above =
      -1.60960333262415e-02f +
      z * (-2.95459980854025e-03f +
           z * (-7.34990630326855e-04f +
                z * (-5.69250639462346e-05f +
                     z * (-2.10102402082508e-06f +
                          z * (2.77068142495902e-08f - z * 2.72614225801306e-10f)))));
  const Floats below =
      -1.42647390514189e-02f +
      z * (-7.37332916720468e-03f +
           z * (-1.68282697438203e-03f + z * (-2.13374055278905e-04f - z * 1.45660718464996e-05f)));
  return t * above / below;
}
inline float error_function(float x) { return std::erf(x); }

}  // namespace karat

// bf16 and f16 in integer arithmetic, and approximate functions that err as much as the GPU's may.
#pragma once

#include <cmath>
#include <cstring>

#include "runtime.h"

#ifndef PERTURB
#define PERTURB 0
#endif

namespace cuda_on_cpu {

inline unsigned bits_of(float x) { unsigned u; std::memcpy(&u, &x, 4); return u; }
inline float float_of(unsigned u) { float x; std::memcpy(&x, &u, 4); return x; }

// ---- Conversions: to nearest, ties to even; a NaN stays a NaN -----------------------------------------

inline unsigned short float_to_bfloat(float x) {
    unsigned u = bits_of(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return u >> 16 | 0x40;  // quiet, or it could round to infinity
    return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

inline float half_to_float(unsigned short h) {
    unsigned sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    if (exponent == 31) return float_of(sign | 0x7f800000u | mantissa << 13);
    unsigned integer = exponent ? mantissa | 0x400 : mantissa;  // value = integer * 2^(exponent - 25)
    float scale = float_of((exponent ? exponent + 102 : 103) << 23);
    return float_of(sign | bits_of(float(integer) * scale));
}

inline unsigned short float_to_half(float x) {
    unsigned u = bits_of(x), sign = u >> 16 & 0x8000u, size = u & 0x7fffffffu;
    if (size > 0x7f800000u) return sign | 0x7e00 | (size >> 13 & 0x3ff);
    if (size >= 0x47800000u) return sign | 0x7c00;  // 65536 and more; from 65520 on the rounding gets there
    if (size >= 0x38800000u) return sign | (size - 0x38000000u + 0xfff + (size >> 13 & 1)) >> 13;
    // Below 2^-14 a half steps by 2^-24, and so does a float between 0.5 and 1: the addition rounds.
    return sign | (bits_of(float_of(size) + 0.5f) - 0x3f000000u);
}

// ---- Approximate functions ----------------------------------------------------------------------------

inline unsigned long long mix(unsigned long long x) {  // splitmix64's finaliser
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

// `exact` moved by at most `ulp` steps. How far depends on the arguments and the seed only: like the
// instruction, it is a function, so that equal inputs still give equal outputs.
inline float perturbed(float exact, unsigned ulp, float a, float b) {
    if (!PERTURB || !std::isfinite(exact) || exact == 0) return exact;
    unsigned long long h = mix(perturb_seed ^ mix((unsigned long long)bits_of(a) << 32 | bits_of(b)));
    long long steps = (long long)(h % (2 * ulp + 1)) - ulp;
    long long size = (bits_of(exact) & 0x7fffffffu) + steps;
    size = size < 0 ? 0 : size > 0x7f800000ll ? 0x7f800000ll : size;
    return float_of((bits_of(exact) & 0x80000000u) | (unsigned)size);
}

inline float fast_div(float a, float b) { return perturbed(a / b, 2, a, b); }
inline float fast_sqrt(float x) { return perturbed(std::sqrt(x), 2, x, 1); }
inline float fast_exp(float x) {
    unsigned ulp = std::fabs(x) < 1e3f ? 2 + (unsigned)std::fabs(1.173f * x) : 2;
    return perturbed(std::exp(x), ulp, x, 2);
}

}  // namespace cuda_on_cpu

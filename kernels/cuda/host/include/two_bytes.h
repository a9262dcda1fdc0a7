// A float of two bytes, with the arithmetic of cuda_fp16.h and cuda_bf16.h: computed in float and rounded once.
// Rounding twice, to float and then to at most 11 bits, gives + - * / as if rounded once.
#pragma once

#include "cuda_on_cpu.h"

namespace cuda_on_cpu {

inline float bfloat_to_float(unsigned short bits) { return float_of((unsigned)bits << 16); }

template <unsigned short (*narrow)(float), float (*widen)(unsigned short)> struct TwoBytes {
    unsigned short bits;

    TwoBytes() = default;
    TwoBytes(float x) : bits(narrow(x)) {}
    operator float() const { return widen(bits); }

    // As in CUDA, `half * float` is ambiguous: it could be meant either way.
    friend TwoBytes operator+(TwoBytes a, TwoBytes b) { return float(a) + float(b); }
    friend TwoBytes operator-(TwoBytes a, TwoBytes b) { return float(a) - float(b); }
    friend TwoBytes operator*(TwoBytes a, TwoBytes b) { return float(a) * float(b); }
    friend TwoBytes operator/(TwoBytes a, TwoBytes b) { return float(a) / float(b); }
    friend TwoBytes operator-(TwoBytes a) { return -float(a); }
    TwoBytes& operator+=(TwoBytes b) { return *this = *this + b; }
    TwoBytes& operator-=(TwoBytes b) { return *this = *this - b; }
    TwoBytes& operator*=(TwoBytes b) { return *this = *this * b; }
    TwoBytes& operator/=(TwoBytes b) { return *this = *this / b; }
};

}  // namespace cuda_on_cpu

// The named functions, in terms of the operators.
#define TWO_BYTES(T) \
    inline T __hadd(T a, T b) { return a + b; } \
    inline T __hsub(T a, T b) { return a - b; } \
    inline T __hmul(T a, T b) { return a * b; } \
    inline T __hdiv(T a, T b) { return a / b; } \
    inline T __hneg(T a) { return -a; } \
    inline T __hmax(T a, T b) { return std::fmax((float)a, (float)b); } \
    inline T __hmin(T a, T b) { return std::fmin((float)a, (float)b); } \
    inline bool __hgt(T a, T b) { return (float)a > (float)b; } \
    inline bool __hlt(T a, T b) { return (float)a < (float)b; } \
    inline bool __heq(T a, T b) { return (float)a == (float)b; } \
    inline bool __hisnan(T a) { return std::isnan((float)a); }

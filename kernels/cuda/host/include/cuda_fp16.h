// __half for kernels on the CPU: conversions and arithmetic. There is no __half2.
#pragma once

#include "two_bytes.h"

using __half = cuda_on_cpu::TwoBytes<cuda_on_cpu::float_to_half, cuda_on_cpu::half_to_float>;
using half = __half;

inline float __half2float(__half x) { return x; }
inline __half __float2half(float x) { return x; }
inline __half __float2half_rn(float x) { return x; }
TWO_BYTES(__half)

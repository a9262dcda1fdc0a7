// __nv_bfloat16 for kernels on the CPU: conversions and arithmetic. There is no __nv_bfloat162.
#pragma once

#include "two_bytes.h"

using __nv_bfloat16 = cuda_on_cpu::TwoBytes<cuda_on_cpu::float_to_bfloat, cuda_on_cpu::bfloat_to_float>;
using nv_bfloat16 = __nv_bfloat16;

inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
TWO_BYTES(__nv_bfloat16)

// CUDA C++ on the CPU: the language of a .cu file, for g++.
//
// The file that a GPU runs is compiled unchanged, and each CUDA thread becomes a fiber (fibers.h). What is
// here: grids, blocks and clusters to 3 dimensions, shared memory static and dynamic (shared.h), barriers,
// shuffles and votes, atomics, vector types, printf, assert. What a GPU would leave undefined ends the
// launch with a message instead: threads that diverge at a barrier, a shuffle from a lane that is not
// there, a misaligned address, a stray index (checks.h).
//
// What is not: inline PTX, textures, streams, tensor cores, cooperative groups, dynamic parallelism. A loop
// that spins until another thread writes never ends, because fibers change at barriers only: Ctrl-C or the
// launch's time limit ends it (signals.h). Files that include cuda_runtime.h, cuda_fp16.h or cuda_bf16.h
// find short ones of that name in include/.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "launch.h"
#include "numbers.h"
#include "runtime.h"

// ---- Keywords -----------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ thread_local  // shared.h says why
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__

#undef assert
#define assert(x) \
    ((x) ? (void)0 \
         : cuda_on_cpu::fail("assert(%s) failed at %s:%d", #x, cuda_on_cpu::base_name(__FILE__), __LINE__))
inline void __trap() { cuda_on_cpu::fail("called __trap()"); }

constexpr int warpSize = 32;

// ---- Vector types -------------------------------------------------------------------------------------

#define VECTOR(T, name, size) \
    struct alignas(2 * size) name##2 { T x, y; }; \
    struct name##3 { T x, y, z; }; \
    struct alignas(4 * size < 16 ? 4 * size : 16) name##4 { T x, y, z, w; }; \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; } \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define uint3 second_uint3  // runtime.h has it already
VECTOR(float, float, 4)
VECTOR(double, double, 8)
VECTOR(int, int, 4)
VECTOR(unsigned, uint, 4)
VECTOR(unsigned short, ushort, 2)
VECTOR(long long, longlong, 8)
#undef uint3
#undef VECTOR

// ---- Barriers -----------------------------------------------------------------------------------------

#define SITE(what) cuda_on_cpu::Site{what, file, line}
#define HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(HERE) { cuda_on_cpu::sync_block(SITE("__syncthreads()"), 0); }
inline int __syncthreads_count(int p, HERE) {
    return (int)cuda_on_cpu::sync_block(SITE("__syncthreads_count()"), p != 0);
}
inline int __syncthreads_or(int p, HERE) {
    return cuda_on_cpu::sync_block(SITE("__syncthreads_or()"), p != 0) != 0;
}
inline int __syncthreads_and(int p, HERE) {
    return cuda_on_cpu::sync_block(SITE("__syncthreads_and()"), p == 0) == 0;
}
inline void cluster_sync(HERE) { cuda_on_cpu::sync_cluster(SITE("cluster_sync()")); }
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- Warps --------------------------------------------------------------------------------------------

namespace cuda_on_cpu {

// The value that lane `source` brings; `inside` false: one's own.
template <class T> T shuffle(Site site, unsigned mask, T value, int source, bool inside) {
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>, "a shuffle moves at most 8 bytes");
    u64 bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    bits = sync_warp(site, mask, inside ? source : lane(), bits);
    std::memcpy((void*)&value, &bits, sizeof(T));
    return value;
}

}  // namespace cuda_on_cpu

inline void __syncwarp(unsigned mask = ~0u, HERE) {
    cuda_on_cpu::sync_warp(SITE("__syncwarp()"), mask, cuda_on_cpu::lane(), 0);
}
// Within groups of `width` lanes; a lane beyond the group's end gets its own value back.
template <class T> T __shfl_sync(unsigned mask, T v, int source, int width = 32, HERE) {
    int from = (cuda_on_cpu::lane() & ~(width - 1)) | (source & (width - 1));
    return cuda_on_cpu::shuffle(SITE("__shfl_sync()"), mask, v, from, true);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int lanes, int width = 32, HERE) {
    int from = cuda_on_cpu::lane() ^ lanes, last = cuda_on_cpu::lane() | (width - 1);
    return cuda_on_cpu::shuffle(SITE("__shfl_xor_sync()"), mask, v, from, from <= last);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, HERE) {
    int from = cuda_on_cpu::lane() + (int)delta, last = cuda_on_cpu::lane() | (width - 1);
    return cuda_on_cpu::shuffle(SITE("__shfl_down_sync()"), mask, v, from, from <= last);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, HERE) {
    int from = cuda_on_cpu::lane() - (int)delta, first = cuda_on_cpu::lane() & ~(width - 1);
    return cuda_on_cpu::shuffle(SITE("__shfl_up_sync()"), mask, v, from, from >= first);
}
inline unsigned __ballot_sync(unsigned mask, int p, HERE) {
    return (unsigned)cuda_on_cpu::sync_warp(SITE("__ballot_sync()"), mask, cuda_on_cpu::everyone, p != 0);
}
inline int __any_sync(unsigned mask, int p, HERE) {
    return cuda_on_cpu::sync_warp(SITE("__any_sync()"), mask, cuda_on_cpu::everyone, p != 0) != 0;
}
inline int __all_sync(unsigned mask, int p, HERE) {
    return cuda_on_cpu::sync_warp(SITE("__all_sync()"), mask, cuda_on_cpu::everyone, p == 0) == 0;
}

#undef SITE
#undef HERE

// ---- Atomics ------------------------------------------------------------------------------------------
// Nobody else runs meanwhile. Integers wrap, as on the GPU.

#define VALUE typename cuda_on_cpu::Given<T>::type  // not deduced: atomicAdd(&a_float, 1) is allowed
namespace cuda_on_cpu {
template <class T> struct Given { using type = T; };
}

template <class T> T atomicExch(T* p, VALUE v) { T old = *p; *p = v; return old; }
template <class T> T atomicMax(T* p, VALUE v) { return atomicExch(p, v > *p ? v : *p); }
template <class T> T atomicMin(T* p, VALUE v) { return atomicExch(p, v < *p ? v : *p); }
template <class T> T atomicOr(T* p, VALUE v) { return atomicExch(p, *p | v); }
template <class T> T atomicAnd(T* p, VALUE v) { return atomicExch(p, *p & v); }
template <class T> T atomicCAS(T* p, VALUE old, VALUE v) { return atomicExch(p, *p == old ? v : *p); }
template <class T> T atomicAdd(T* p, VALUE v) {
    T sum;
    if constexpr (std::is_integral_v<T>) (void)__builtin_add_overflow(*p, v, &sum);
    else sum = *p + v;
    return atomicExch(p, sum);
}
#undef VALUE

// ---- Numbers ------------------------------------------------------------------------------------------
// expf, logf, tanhf, ... are those of the C library, which err by less than the GPU's.

using std::isfinite;
using std::isinf;
using std::isnan;

template <class A, class B> constexpr std::common_type_t<A, B> min(A a, B b) { return b < a ? b : a; }
template <class A, class B> constexpr std::common_type_t<A, B> max(A a, B b) { return a < b ? b : a; }

inline unsigned __float_as_uint(float x) { return cuda_on_cpu::bits_of(x); }
inline int __float_as_int(float x) { return (int)cuda_on_cpu::bits_of(x); }
inline float __uint_as_float(unsigned x) { return cuda_on_cpu::float_of(x); }
inline float __int_as_float(int x) { return cuda_on_cpu::float_of((unsigned)x); }
inline long long __double_as_longlong(double x) { long long u; std::memcpy(&u, &x, 8); return u; }
inline double __longlong_as_double(long long u) { double x; std::memcpy(&x, &u, 8); return x; }

inline float rsqrtf(float x) { return (float)(1 / std::sqrt((double)x)); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __expf(float x) { return cuda_on_cpu::fast_exp(x); }
inline float __fdividef(float a, float b) { return cuda_on_cpu::fast_div(a, b); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
template <class T> T __ldg(const T* p) { return *p; }

// What a kernel of this folder includes, and all it includes: two sides with the same names.
//
//   GPU   plain CUDA C++ and inline PTX for sm_80 and later; no CUDA header, so that NVRTC compiles it bare.
//   CPU   -DMINILLM_ON_CPU: host/cuda_on_cpu.h runs the very same .cu file, one fiber a CUDA thread.
//
// Below: element types and their conversions, 16-byte loads and stores, clusters, approximate functions.
#pragma once

using uint8 = unsigned char;
using uint16 = unsigned short;
using uint32 = unsigned int;
using uint64 = unsigned long long;
using int32 = int;
using int64 = long long;

#ifdef MINILLM_ON_CPU
#include "host/cuda_on_cpu.h"
#endif

#define DEVICE __device__ __forceinline__

// ---- Element types ----------------------------------------------------------------------------------
// Two bytes of storage each; arithmetic is in float32, rounded once by from_float.

struct bf16 { uint16 bits; };  // 1 sign, 8 exponent, 7 mantissa: the upper half of a float
struct f16 { uint16 bits; };   // 1 sign, 5 exponent, 10 mantissa: IEEE half

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bf16 x) { return __uint_as_float((uint32)x.bits << 16); }
DEVICE float to_float(f16 x) {
#ifdef MINILLM_ON_CPU
    return cuda_on_cpu::half_to_float(x.bits);
#else
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
#endif
}

// float -> T, to the nearest, ties to even; NaN stays NaN, too large a number becomes infinite.
template <class T> DEVICE T from_float(float x);
template <> DEVICE float from_float<float>(float x) { return x; }
template <> DEVICE bf16 from_float<bf16>(float x) {
    bf16 y;
#ifdef MINILLM_ON_CPU
    y.bits = cuda_on_cpu::float_to_bfloat(x);
#else
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#endif
    return y;
}
template <> DEVICE f16 from_float<f16>(float x) {
    f16 y;
#ifdef MINILLM_ON_CPU
    y.bits = cuda_on_cpu::float_to_half(x);
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#endif
    return y;
}

DEVICE float infinity() { return __uint_as_float(0x7f800000u); }
DEVICE float not_a_number() { return __uint_as_float(0x7fc00000u); }

// ---- 16 bytes at once -------------------------------------------------------------------------------
// The widest access of one thread: 4 float, 8 bf16 or f16. The address must be a multiple of 16.
// None goes through the read-only cache, so a kernel may write where it has read (out=logits).

template <class T> struct alignas(16) Pack { T v[16 / sizeof(T)]; };

#ifdef MINILLM_ON_CPU

// Cache hints change nothing but time. An address that would fault on the GPU is reported (host/checks.h).
template <class T> DEVICE Pack<T> load16(const T* p) {
    return *reinterpret_cast<const Pack<T>*>(p);
}
template <class T> DEVICE void store16(T* p, Pack<T> x) {
    *reinterpret_cast<Pack<T>*>(p) = x;
}
template <class T> DEVICE Pack<T> load16_keep(const T* p) { return load16(p); }
template <class T> DEVICE Pack<T> load16_last_use(const T* p) { return load16(p); }
template <class T> DEVICE void store16_stream(T* p, Pack<T> x) { store16(p, x); }

#else

// An L2 policy for all of an access. Not volatile: the compiler makes it once and keeps it in a register.
DEVICE uint64 evict_last() {
    uint64 policy;
    asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
DEVICE uint64 evict_first() {
    uint64 policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
DEVICE uint64 global_address(const void* p) {
    uint64 address;
    asm("cvta.to.global.u64 %0, %1;" : "=l"(address) : "l"(p));
    return address;
}

template <class T> DEVICE Pack<T> load16(const T* p) {
    Pack<T> x;
    uint4& w = reinterpret_cast<uint4&>(x);
    asm volatile("ld.global.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(w.x), "=r"(w.y), "=r"(w.z), "=r"(w.w) : "l"(global_address(p)) : "memory");
    return x;
}
// For what is read again: last to leave L2.
template <class T> DEVICE Pack<T> load16_keep(const T* p) {
    Pack<T> x;
    uint4& w = reinterpret_cast<uint4&>(x);
    asm volatile("ld.global.L2::cache_hint.v4.b32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(w.x), "=r"(w.y), "=r"(w.z), "=r"(w.w)
                 : "l"(global_address(p)), "l"(evict_last()) : "memory");
    return x;
}
// For what nobody reads again: first to leave L2, and never in L1.
template <class T> DEVICE Pack<T> load16_last_use(const T* p) {
    Pack<T> x;
    uint4& w = reinterpret_cast<uint4&>(x);
    asm volatile("ld.global.L1::no_allocate.L2::cache_hint.v4.b32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(w.x), "=r"(w.y), "=r"(w.z), "=r"(w.w)
                 : "l"(global_address(p)), "l"(evict_first()) : "memory");
    return x;
}
template <class T> DEVICE void store16(T* p, Pack<T> x) {
    const uint4& w = reinterpret_cast<const uint4&>(x);
    asm volatile("st.global.v4.b32 [%4], {%0, %1, %2, %3};"
                 :: "r"(w.x), "r"(w.y), "r"(w.z), "r"(w.w), "l"(global_address(p)) : "memory");
}
// For what this kernel does not read again: it must not push out what load16_keep keeps.
template <class T> DEVICE void store16_stream(T* p, Pack<T> x) {
    const uint4& w = reinterpret_cast<const uint4&>(x);
    asm volatile("st.global.L2::cache_hint.v4.b32 [%4], {%0, %1, %2, %3}, %5;"
                 :: "r"(w.x), "r"(w.y), "r"(w.z), "r"(w.w), "l"(global_address(p)), "l"(evict_first())
                 : "memory");
}

#endif

// ---- Clusters: blocks that read one another's shared memory (sm_90; a cluster of one before) -----------
// Write `__cluster_dims__(CLUSTER, 1, 1)` in the kernel's declaration. A block must not end while another
// may still read its shared memory: cluster_sync() before the end.

#ifdef MINILLM_ON_CPU
DEVICE uint32 cluster_rank() { return cuda_on_cpu::cluster_rank(); }
DEVICE float cluster_read(const float* mine, uint32 rank) { return cuda_on_cpu::cluster_read(mine, rank); }
#elif __CUDA_ARCH__ >= 900
DEVICE uint32 cluster_rank() {
    uint32 rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
// All threads of all blocks of the cluster have come here, and their writes are seen.
DEVICE void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release;" ::: "memory");  // not .aligned: warps may have diverged
    asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
}
// The float that block `rank` of the cluster has at the address which `mine` is in this block.
DEVICE float cluster_read(const float* mine, uint32 rank) {
    float x;
    asm volatile("{\n"
                 "    .reg .u64 generic, local;\n"
                 "    .reg .u32 here, there;\n"
                 "    mov.u64 generic, %1;\n"
                 "    cvta.to.shared.u64 local, generic;\n"
                 "    cvt.u32.u64 here, local;\n"
                 "    mapa.shared::cluster.u32 there, here, %2;\n"
                 "    ld.shared::cluster.f32 %0, [there];\n"
                 "}" : "=f"(x) : "l"(mine), "r"(rank) : "memory");
    return x;
}
#else
#undef __cluster_dims__
#define __cluster_dims__(...)
DEVICE uint32 cluster_rank() { return 0; }
DEVICE void cluster_sync() { __syncthreads(); }
DEVICE float cluster_read(const float* mine, uint32) { return *mine; }
#endif

// ---- Approximate functions: one instruction each, with the error that NVIDIA states --------------------
// On the CPU they are exact, or with -DPERTURB=1 off by a random number of ulp within that error.

#ifdef MINILLM_ON_CPU
DEVICE float fast_div(float a, float b) { return cuda_on_cpu::fast_div(a, b); }
DEVICE float fast_sqrt(float x) { return cuda_on_cpu::fast_sqrt(x); }
DEVICE float fast_exp(float x) { return cuda_on_cpu::fast_exp(x); }
#else
DEVICE float fast_div(float a, float b) {  // 2 ulp
    float y;
    asm("div.full.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}
DEVICE float fast_sqrt(float x) {  // relative error 2^-23: 2 ulp
    float y;
    asm("sqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float fast_exp(float x) {  // 2^(x log2 e): 2 + floor(1.173 |x|) ulp, as __expf
    float y;
    asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x * 1.4426950408889634f));
    return y;
}
#endif

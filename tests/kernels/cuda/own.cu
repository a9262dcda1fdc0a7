// A file as people write it: NVIDIA's headers, no device.cuh, and every mistake of the first week.
#include <cuda_runtime.h>
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <stdio.h>

extern "C" __global__ void scale(const float* x, float* out, int n, float a, int by) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i + by] = a * x[i];
}
extern "C" __global__ void in_place(float *__restrict__ x, const float y[], unsigned rows, int stride) {
    for (unsigned r = 0; r < rows; ++r) x[r * stride + threadIdx.x] += y[threadIdx.x];
}
extern "C" __global__ void types(long long n, void* any, bool* flags, int* ints, __half* half_, float4* four) {
    flags[0] = n > 0;
    ints[0] = (int)n;
    half_[0] = __float2half(0.5f);
    four[0].y = 3;
    ((unsigned char*)any)[0] = 7;
}

extern "C" __global__ void halves(const __half* a, const half* b, half* sum, half* product, float* wide) {
    __shared__ half tile[32];
    int i = threadIdx.x;
    tile[i] = a[i];
    __syncthreads();
    sum[i] = __hadd(tile[i], b[i]);
    product[i] = tile[i] * b[i];
    wide[i] = __half2float(__float2half_rn(__half2float(tile[i]) / 3));
}
extern "C" __global__ void bfloats(const __nv_bfloat16* a, __nv_bfloat16* out, float* wide, nv_bfloat16 by) {
    out[threadIdx.x] = a[threadIdx.x] * by;
    wide[threadIdx.x] = __bfloat162float(__float2bfloat16(__bfloat162float(a[threadIdx.x]) / 3));
}

// ---- Kernels that never end, once `who` has come ----
template <class T> __device__ __noinline__ T forever(T x) {
    while (x >= 0) x = x * x + 1;
    return x;
}
extern "C" __global__ void empty_loop(int who) {
    if (threadIdx.x == who) while (true) {}
}
extern "C" __global__ void in_a_template(int who, double* out) {
    if (threadIdx.x == who) out[0] = forever(0.5);
}
__attribute__((cold)) __device__ __noinline__ void cold_loop() {  // what compilers put far from the rest
    while (true) {}
}
extern "C" __global__ void in_the_cold(int who) {
    if (threadIdx.x == who) cold_loop();
}
__attribute__((cold)) __device__ __noinline__ void cold_step(volatile int* x) { x[0] = 1; }
extern "C" __global__ void in_a_cold_block(int who, int* out) {
    if (threadIdx.x == who) {
        cold_step(out);
        while (true) {}
    }
    out[1] = 2;
}
extern "C" __global__ void for_a_flag(int who, const int* flag) {
    if (threadIdx.x == who) while (flag[0] == 0) {}
}
extern "C" __global__ void at_barriers(int who) {
    while (true) __syncthreads();
}
extern "C" __global__ void at_shuffles(int who, int* out) {
    while (true) out[0] += __shfl_xor_sync(~0u, 1, 1);
}
extern "C" __global__ void with_printf(int who) {
    if (threadIdx.x == who) while (true) printf("\n");
}
extern "C" __global__ void in_the_library(int who, float* out) {
    if (threadIdx.x == who) while (true) out[0] = sinf(out[0]);
}

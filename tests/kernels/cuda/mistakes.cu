// What a GPU leaves undefined, and CUDA on the CPU reports: one kernel a mistake. The tests look for the
// lines that are marked in a comment.
#include "device.cuh"

extern "C" __global__ void leaves(int who) {
    if (threadIdx.x == who) return;
    __syncthreads();  // line: leaves
}

extern "C" __global__ void most_leave(int stay) {
    if (threadIdx.x >= stay) return;
    __syncthreads();
}

extern "C" __global__ void two_barriers(int who) {
    if (threadIdx.x == who) __syncthreads();  // line: odd
    else __syncthreads();                     // line: even
}

extern "C" __global__ void block_or_warp(int who) {
    if (threadIdx.x == who) __syncwarp();  // line: warp
    else __syncthreads();
}

extern "C" __global__ void two_masks(int* out) {
    out[threadIdx.x] = __shfl_xor_sync(threadIdx.x < 11 ? 0xffffffffu : 0xfffffffeu, 1, 1);
}

extern "C" __global__ void cluster_leaves(int who) {
    if (blockIdx.x == 1 && threadIdx.x == who) return;
    cluster_sync();
}

extern "C" __global__ void shuffle_left(int* out) {
    if (threadIdx.x == 5) return;
    out[threadIdx.x] = __shfl_xor_sync(~0u, 1, 1);
}
extern "C" __global__ void shuffle_unmasked(int* out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1, 16);
}
extern "C" __global__ void shuffle_absent(int* out) { out[threadIdx.x] = __shfl_xor_sync(~0u, 1, 16); }
extern "C" __global__ void shuffle_without_me(int* out) {
    if (threadIdx.x == 3) out[0] = __shfl_sync(0x7u, 1, 0);
}
// A lane that has left, and that nobody reads from, is no mistake.
extern "C" __global__ void shuffle_fine(int* out) {
    if (threadIdx.x == 31) return;
    out[threadIdx.x] = __shfl_sync(~0u, (int)threadIdx.x, 7);
}

extern "C" __global__ void behind_static(int by) {
    __shared__ float a[32];
    float* p = a;
    p[(int)threadIdx.x + by] = 1;
    if (threadIdx.x == 0 && p[0] != 1 && by == 0) p[1] = 2;
}
extern "C" __global__ void behind_dynamic(int by) {
    extern __shared__ float d[];
    d[(int)threadIdx.x + by] = 1;
}
extern "C" __global__ void index_of_static(int by, float* out) {
    __shared__ float a[32];
    a[threadIdx.x] = 0;
    out[threadIdx.x] = a[threadIdx.x + by];  // line: index
}

extern "C" __global__ void misaligned16(const float* x, float* out) { store16(out, load16(x)); }
extern "C" __global__ void misaligned4(const float* x, float* out) { out[0] = x[0]; }
extern "C" __global__ void lost(const float* x, float* out) { out[0] = x[threadIdx.x]; }
__device__ int deep(volatile int* up, int n) {
    volatile int here[256];
    here[n % 256] = up ? up[0] + n : n;
    return n ? deep(here, n - 1) + here[(n + 1) % 256] : 0;
}
extern "C" __global__ void recursive(int n, int* out) { out[0] = deep(nullptr, n); }
extern "C" __global__ void offset(int row, int stride, long long* out) {
    out[0] = row * stride;  // line: offset
}
extern "C" __global__ void divide(int a, int b, int* out) { out[0] = a / b; }

extern "C" __global__ void uninitialised(float* sum, float* top, int barrier) {
    __shared__ float a[2];
    if (threadIdx.x == 0) a[0] = 1;
    __syncthreads();
    sum[blockIdx.x] = a[0] + a[1];
    top[blockIdx.x] = fmaxf(a[0], a[1]);
}

extern "C" __global__ void reads_outside(const float* x, float* out) { out[0] = cluster_read(x, 0); }
extern "C" __global__ void reads_beyond(float* out) {
    __shared__ float a;
    a = 0;
    out[0] = cluster_read(&a, 2);
}
extern "C" __global__ void asserts(int n) { assert(threadIdx.x < n); }  // line: assert

// What CUDA on the CPU must run as a GPU does: one kernel a feature.
#include "device.cuh"

extern "C" __global__ void indices(int* out) {
    int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] += 1000 * block + thread;
}

extern "C" __global__ void arguments(double* out, float a, double b, int c, long long d, unsigned e, bool f) {
    out[0] = a, out[1] = b, out[2] = c, out[3] = d, out[4] = e, out[5] = f;
}

// A tree in shared memory. Without its barriers it is wrong.
extern "C" __global__ void __launch_bounds__(256) block_sum(const float* x, float* out, int barrier) {
    __shared__ float part[256];
    part[threadIdx.x] = x[blockIdx.x * 256 + threadIdx.x];
    if (barrier) __syncthreads();
    for (int half = 128; half; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        if (barrier) __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = part[0];
}

// The same within a warp, on __syncwarp.
extern "C" __global__ void warp_sum(const float* x, float* out, int barrier) {
    __shared__ float part[32];
    part[threadIdx.x] = x[threadIdx.x];
    for (int half = 16; half; half /= 2) {
        if (barrier) __syncwarp();
        float other = threadIdx.x < half ? part[threadIdx.x + half] : 0;
        if (barrier) __syncwarp();
        part[threadIdx.x] += other;
    }
    if (threadIdx.x == 0) out[0] = part[0];
}

template <class T> __device__ void reverse_with(T* part, T* x) {
    part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = part[blockDim.x - 1 - threadIdx.x];
}
extern "C" __global__ void reverse(double* x) {
    extern __shared__ __align__(16) double doubles[];
    reverse_with(doubles, x);
}
extern "C" __global__ void reverse_bytes(uint8* x) {
    extern __shared__ uint8 bytes[];
    reverse_with(bytes, x);
}

extern "C" __global__ void shuffles(int* out, int amount, int width) {
    int t = threadIdx.x, v = 1000 + t;
    out[4 * t] = __shfl_xor_sync(~0u, v, amount, width);
    out[4 * t + 1] = __shfl_down_sync(~0u, v, amount, width);
    out[4 * t + 2] = __shfl_up_sync(~0u, v, amount, width);
    out[4 * t + 3] = __shfl_sync(~0u, v, amount, width);
}

// Half a warp takes one branch, half the other: each exchanges among its own.
extern "C" __global__ void halves(double* out) {
    double v = threadIdx.x;
    if (threadIdx.x % 2) {
        for (int d = 16; d > 1; d /= 2) v += __shfl_xor_sync(0xaaaaaaaau, v, d);
    } else {
        for (int d = 2; d < 32; d *= 2) v = fmax(v, __shfl_xor_sync(0x55555555u, v, d));
    }
    out[threadIdx.x] = v;
}

extern "C" __global__ void votes(unsigned* out, const int* p) {
    int t = threadIdx.x;
    out[6 * t] = __ballot_sync(~0u, p[t]);
    out[6 * t + 1] = __any_sync(~0u, p[t]);
    out[6 * t + 2] = __all_sync(~0u, p[t]);
    out[6 * t + 3] = __syncthreads_count(p[t]);
    out[6 * t + 4] = __syncthreads_or(p[t]);
    out[6 * t + 5] = __syncthreads_and(p[t]);
}

// In what order the threads come by, before and behind a barrier.
extern "C" __global__ void arrival(int* order, int* counter) {
    order[atomicAdd(counter, 1)] = threadIdx.x;
    __syncthreads();
    order[atomicAdd(counter, 1)] = threadIdx.x;
}

// Every block reads the sum of what all blocks of its cluster hold, static and dynamic.
extern "C" __global__ void __cluster_dims__(4, 1, 1) exchange(float* out, int first_sync, int last_sync) {
    extern __shared__ float row[];
    __shared__ float rank;
    row[threadIdx.x] = 100.0f * blockIdx.x + threadIdx.x;
    if (threadIdx.x == 0) rank = cluster_rank();
    if (first_sync) cluster_sync();
    else __syncthreads();
    float sum = 0;
    for (uint32 r = 0; r < 4; ++r) sum += cluster_read(row + threadIdx.x, r) + 1e4f * cluster_read(&rank, r);
    if (last_sync) cluster_sync();
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

extern "C" __global__ void atomics(float* f, int* i, unsigned* u, unsigned long long* l) {
    int t = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(f, 1);
    atomicAdd(&i[0], t);
    atomicMax(&i[1], t);
    atomicMin(&i[2], -t);
    if (atomicCAS(&i[3], 0, t + 1) == 0) atomicAdd(&i[4], 1);
    atomicAdd(u, 0xffffffffu);
    atomicAdd(l, 1ull << 40);
    atomicMax(l + 1, (unsigned long long)t << 40);
}

extern "C" __global__ void vectors(const float4* x, float2* out) {
    float4 v = x[threadIdx.x];
    out[threadIdx.x] = make_float2(v.x + v.y, v.z * v.w);
    uint4 u = make_uint4(1, 2, 3, 4);
    int4 i = {1, 2, 3, 4};
    if (u.w != 4 || i.z != 3 || sizeof(u) != 16 || alignof(float4) != 16) __trap();
}

template <class T> __device__ void copy_with(const T* x, T* y, int n) {
    constexpr int each = 16 / sizeof(T);
    int i = threadIdx.x * each;
    if (i >= n) return;
    Pack<T> p = load16(x + i);
    if (threadIdx.x % 3 == 1) p = load16_keep(x + i);
    if (threadIdx.x % 3 == 2) p = load16_last_use(x + i);
    if (threadIdx.x % 2) store16(y + i, p);
    else store16_stream(y + i, p);
}
extern "C" __global__ void copy_float(const float* x, float* y, int n) { copy_with(x, y, n); }
extern "C" __global__ void copy_bf16(const bf16* x, bf16* y, int n) { copy_with(x, y, n); }

extern "C" __global__ void widen(const uint16* x, float* from_bf16, float* from_f16, int n) {
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        from_bf16[i] = to_float(bf16{x[i]}), from_f16[i] = to_float(f16{x[i]});
}
extern "C" __global__ void narrow(const float* x, uint16* as_bf16, uint16* as_f16, int n) {
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        as_bf16[i] = from_float<bf16>(x[i]).bits, as_f16[i] = from_float<f16>(x[i]).bits;
}

extern "C" __global__ void fast(const float* a, const float* b, float* div, float* root, float* exp, int n) {
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        div[i] = fast_div(a[i], b[i]), root[i] = fast_sqrt(a[i]), exp[i] = fast_exp(b[i]);
}

extern "C" __global__ void fused(const float* a, const float* b, const float* c, float* out) {
    int t = threadIdx.x;
    out[t] = a[t] * b[t] + c[t];
}

extern "C" __global__ void say(int n) {
    if (threadIdx.x == 1) printf("block %d says %d and %.2f\n", blockIdx.x, n, 0.5);
}

// Adam on a list of tensors in one launch: a block updates one tile of TILE elements of one tensor.
//
//   theta = theta - (alpha lambda) theta                        decoupled weight decay (DECAY 1)
//   g     = g + lambda theta                                    coupled (DECAY 2)
//   m     = beta1 m + (1 - beta1) g
//   v     = beta2 v + (1 - beta2) g^2
//   theta = theta - alpha / (sqrt(v / c2) + eps) * (m / c1)     c = 1 - beta^t; amsgrad: max(v) in v's place
//
// Bytes: every array is read once and written once (g read only, a parameter with a float32 master written
// only): 28 an element in float32, 14 all in bf16, 28 with bf16 p, g and float32 master, m, v. The table
// costs 8 bytes a tile.
//
// Sizes (kernels/tuning.py): 256 threads, 16 bytes an access: 4 elements a thread, or 8 where some arrays
// have 2 bytes an element (one access there, two on the others). With at most 64 registers for 4 elements, or
// 128 for 8, an SM holds 1024 or 512 threads with four loads or more in flight each: 32 KiB at least, where
// 3.35 TB/s over 132 SMs needs 18 KB at an assumed latency of 700 ns. Memory, not arithmetic, is meant to set
// the pace, in the exact mode too.
//
// EXACT 1: IEEE division and root, compiled without contraction: bit-equal to NumPy float32. EXACT 0:
// approximate ones and FMA; a float32 parameter differs by at most an ulp of it and 8 ulp of its update in
// the tests. Macros, all given by kernels/cuda/adam.py:
//   PARAM, GRAD, MOMENT   element types         TILE, THREADS, BLOCKS on an SM
//   MASTER, AMSGRAD, GRAD_SCALE, STOCHASTIC, EXACT   0 or 1;  DECAY   0 none, 1 decoupled, 2 coupled
#include "device.cuh"

constexpr bool SHORT = sizeof(PARAM) == 2 || sizeof(GRAD) == 2 || sizeof(MOMENT) == 2;
constexpr int N = SHORT ? 8 : 4;  // consecutive elements of a thread
static_assert(TILE % (THREADS * N) == 0, "a full tile is whole turns of all threads");

struct Tensor {  // a row of the table
    PARAM* p; const GRAD* g; MOMENT* m; MOMENT* v; MOMENT* vmax; float* master;
    int64 numel, index, aligned;
};

struct Factors {  // the same for all elements
    float alpha, alpha_lambda, lambda, beta1, beta2, one_minus_beta1, one_minus_beta2, eps, c1, c2, scale;
    bool maximize;
};

struct Element { float theta, g, m, v, vmax; };

DEVICE float divide(float a, float b) { return EXACT ? a / b : fast_div(a, b); }
DEVICE float root(float a) { return EXACT ? sqrtf(a) : fast_sqrt(a); }

DEVICE void update(Element& x, const Factors& f) {
    if (GRAD_SCALE) x.g = divide(x.g, f.scale);
    if (f.maximize) x.g = -x.g;
    if (DECAY == 1) x.theta = x.theta - f.alpha_lambda * x.theta;
    if (DECAY == 2) x.g = x.g + f.lambda * x.theta;
    x.m = f.beta1 * x.m + f.one_minus_beta1 * x.g;
    x.v = f.beta2 * x.v + f.one_minus_beta2 * (x.g * x.g);
    if (AMSGRAD) x.vmax = x.v > x.vmax || x.v != x.v ? x.v : x.vmax;  // a NaN in either stays
    float m_hat = divide(x.m, f.c1), v_hat = divide(AMSGRAD ? x.vmax : x.v, f.c2);
    x.theta = x.theta - divide(f.alpha, root(v_hat) + f.eps) * m_hat;
}

// ---- Stochastic rounding --------------------------------------------------------------------------------

DEVICE uint32 fmix32(uint32 x) {  // murmur3's finaliser: every bit of x changes half of the result's
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return x ^ x >> 16;
}

// bf16 below or above x, the nearer the likelier: 16 random bits carry into those that stay.
DEVICE PARAM round_stochastically(float x, uint32 key, uint32 i) {
    PARAM result = from_float<PARAM>(x);
#if STOCHASTIC
    uint32 bits = __float_as_uint(x);
    if ((bits & 0x7f800000u) != 0x7f800000u)  // else it would carry: the GPU's NaN is 0x7fffffff
        result.bits = (bits + (fmix32(i ^ key) & 0xffffu)) >> 16;
#endif
    return result;
}

// ---- N consecutive elements -------------------------------------------------------------------------------

template <class T> DEVICE void load(float (&x)[N], const T* p) {
    constexpr int lanes = 16 / sizeof(T);
#pragma unroll
    for (int i = 0; i < N; i += lanes) {
        Pack<T> pack = load16(p + i);
#pragma unroll
        for (int k = 0; k < lanes; k++) x[i + k] = to_float(pack.v[k]);
    }
}

template <class T> DEVICE void store(T* p, const float (&x)[N]) {
    constexpr int lanes = 16 / sizeof(T);
#pragma unroll
    for (int i = 0; i < N; i += lanes) {
        Pack<T> pack;
#pragma unroll
        for (int k = 0; k < lanes; k++) pack.v[k] = from_float<T>(x[i + k]);
        store16(p + i, pack);
    }
}

// A full and aligned tile: 16-byte accesses, no masks.
DEVICE void vectors(const Tensor& t, int64 i, const Factors& f, uint32 key) {
    float theta[N], g[N], m[N], v[N], vmax[N];
    if (MASTER) load(theta, t.master + i); else load(theta, t.p + i);
    load(g, t.g + i);
    load(m, t.m + i);
    load(v, t.v + i);
    if (AMSGRAD) load(vmax, t.vmax + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
        Element x = {theta[k], g[k], m[k], v[k], AMSGRAD ? vmax[k] : 0.0f};
        update(x, f);
        theta[k] = x.theta; m[k] = x.m; v[k] = x.v; vmax[k] = x.vmax;
    }
    store(t.m + i, m);
    store(t.v + i, v);
    if (AMSGRAD) store(t.vmax + i, vmax);
    if (MASTER) store(t.master + i, theta);
    constexpr int lanes = 16 / sizeof(PARAM);
#pragma unroll
    for (int a = 0; a < N; a += lanes) {
        Pack<PARAM> pack;
#pragma unroll
        for (int k = 0; k < lanes; k++)
            pack.v[k] = round_stochastically(theta[a + k], key, (uint32)(i + a + k));
        store16(t.p + i + a, pack);
    }
}

// One element: the last tile of a tensor, and tensors at any address.
DEVICE void scalar(const Tensor& t, int64 i, const Factors& f, uint32 key) {
    Element x = {MASTER ? t.master[i] : to_float(t.p[i]), to_float(t.g[i]), to_float(t.m[i]),
                 to_float(t.v[i]), AMSGRAD ? to_float(t.vmax[i]) : 0.0f};
    update(x, f);
    t.m[i] = from_float<MOMENT>(x.m);
    t.v[i] = from_float<MOMENT>(x.v);
    if (AMSGRAD) t.vmax[i] = from_float<MOMENT>(x.vmax);
    if (MASTER) t.master[i] = x.theta;
    t.p[i] = round_stochastically(x.theta, key, (uint32)i);
}

DEVICE double power(double b, int64 t) {  // by squaring, in the same order on every backend
    double p = 1;
    for (; t > 0; t >>= 1, b *= b)
        if (t & 1) p *= b;
    return p;
}

// The step is from the host, or of a type on the device.
enum StepType { HOST, INT64, INT32, FLOAT32 };

// alpha, alpha_lambda are used without an lr on the device; c1, c2, step without a step there.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
adam(const Tensor* rows, const int32* tiles, double beta1, double beta2, float one_minus_beta1,
     float one_minus_beta2, float eps, float lambda, float alpha, float alpha_lambda, float c1, float c2,
     int64 step, int32 step_type, const void* device_step, const float* lr, const float* grad_scale,
     const float* found_inf, int32 maximize, int64 seed) {
    if (found_inf && *found_inf != 0) return;  // the step is skipped, by every block alike
    Factors f = {alpha, alpha_lambda, lambda, (float)beta1, (float)beta2, one_minus_beta1, one_minus_beta2,
                 eps, c1, c2, GRAD_SCALE ? *grad_scale : 1.0f, maximize != 0};
    if (lr) {
        f.alpha = *lr;
        f.alpha_lambda = f.alpha * lambda;
    }
    if (step_type != HOST) {
        __shared__ float c[2];
        step = step_type == INT64 ? *(const int64*)device_step
             : step_type == INT32 ? *(const int32*)device_step : (int64)*(const float*)device_step;
        if (threadIdx.x < 2) c[threadIdx.x] = (float)(1 - power(threadIdx.x ? beta2 : beta1, step));
        __syncthreads();
        f.c1 = c[0];
        f.c2 = c[1];
    }
    const Tensor t = rows[tiles[2 * blockIdx.x]];
    const int64 start = (int64)tiles[2 * blockIdx.x + 1] * TILE;
    uint32 key = 0;
    if (STOCHASTIC) {  // a tile lies in one span of 2^32 elements
        key = fmix32((uint32)seed ^ (uint32)step * 0x85ebca6bu);
        key = fmix32((uint32)(start >> 32) ^ fmix32(key ^ (uint32)t.index * 0x9e3779b9u));
    }
    if (t.aligned && start + TILE <= t.numel) {
        for (int64 i = start + threadIdx.x * N; i < start + TILE; i += THREADS * N) vectors(t, i, f, key);
    } else {
        const int64 end = start + TILE < t.numel ? start + TILE : t.numel;
        for (int64 i = start + threadIdx.x; i < end; i += THREADS) scalar(t, i, f, key);
    }
}

// Softmax cross-entropy of one row: the mathematics, and a row's elements from addresses of any alignment.
// cross_entropy.cu and cross_entropy_streaming.cu move the data.
//
//   raw_j   a logit; x_j = c tanh(raw_j / c) with a softcap c, else raw_j; -inf is an absent class
//   m, r    max_j x_j  and  sum_{j != y} exp(x_j - m): the label's own term stays out of r, so that its
//           gradient, a r/s, keeps its relative accuracy as p_y -> 1
//   e_y, s  exp(x_y - m)  and  r + e_y;  lse = m + log s
//   q_j     (1-e) w_y [j = y] + (e/K) w_j over the K present classes;  a = sum_j q_j
//   loss    sum_j q_j (lse - x_j) + z lse^2
//   dx_j    (a + 2 z lse) p_j - q_j,  p_j = exp(x_j - m) / s;  times 1 - (x_j/c)^2 with a softcap
//
// Macros, all given by kernels/cuda/cross_entropy.py. What costs something an element is one of them; what is
// done once a row (z, the label's weight, factors) is decided when the kernel runs, for fewer compilations.
//   LOGIT      float, bf16 or f16            LABEL      int64 or int32
//   THREADS    of a block                    BLOCKS     on an SM that registers must suffice for
//   CLUSTER    blocks that share a row       GRADIENT   dlogits are wanted
//   UNROLL     16-byte loads in flight       ALIGNED    all rows start at multiples of 16 bytes
//   SMOOTHING, SOFTCAP   e, c are there
#pragma once
#include "device.cuh"

constexpr int N = 16 / sizeof(LOGIT);  // elements of a 16-byte access
constexpr int LOADS = UNROLL;          // for pragmas, where a macro is not replaced

struct Options {
    const float* w;  // (V,) class weights; null: all 1
    float e, z, c;
};

// exp(d) for d <= 0. For 2-byte logits the approximate one: its error is far below half an ulp of theirs.
DEVICE float exponential(float d) { return sizeof(LOGIT) == 4 ? expf(d) : fast_exp(d); }

// x = c tanh(raw / c); an absent class stays absent.
DEVICE float capped(float raw, const Options& o) {
#if SOFTCAP
    return raw == -infinity() ? raw : o.c * tanhf(raw / o.c);
#else
    return raw;
#endif
}

DEVICE float weight(int j, const Options& o) { return o.w ? o.w[j] : 1.0f; }

// ---- What a row's elements come to -------------------------------------------------------------------

// Over some columns other than the label's. Empty: m = -inf, the rest 0.
struct Sum {
    float m, r;  // max x_j, sum exp(x_j - m)
#if SMOOTHING
    float K, W, S;  // present classes; sum w_j and sum w_j (x_j - reference) over them
#endif
};

DEVICE Sum nothing() {
    Sum sum = {};
    sum.m = -infinity();
    return sum;
}

// m where it is a number to subtract: of nothing but absent classes, exp(-inf - 0) = 0 and no NaN.
DEVICE float base(float m) { return m == -infinity() ? 0.0f : m; }

// Adds columns j..j+N-1. `label` is y, counted as j is.
DEVICE void add(Sum& sum, const Pack<LOGIT>& raw, int j, int label, float reference, const Options& o) {
    float x[N], m = sum.m;
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = capped(to_float(raw.v[i]), o);
    if ((unsigned)(label - j) < N) {  // one test a pack, not one an element
#pragma unroll
        for (int i = 0; i < N; i++) x[i] = j + i == label ? -infinity() : x[i];
    }
#pragma unroll
    for (int i = 0; i < N; i++) m = fmaxf(m, x[i]);
    float b = base(m), r = sum.r * exponential(sum.m - b);
#pragma unroll
    for (int i = 0; i < N; i++) r += exponential(x[i] - b);
    sum.m = m;
    sum.r = r;
#if SMOOTHING
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (x[i] != -infinity()) {
            float w = weight(j + i, o);
            sum.K += 1;
            sum.W += w;
            sum.S += w * (x[i] - reference);
        }
    }
#endif
}

DEVICE Sum combine(const Sum& p, const Sum& q) {
    Sum sum;
    sum.m = fmaxf(p.m, q.m);
    float b = base(sum.m);
    sum.r = p.r * expf(p.m - b) + q.r * expf(q.m - b);
#if SMOOTHING
    sum.K = p.K + q.K;
    sum.W = p.W + q.W;
    sum.S = p.S + q.S;
#endif
    return sum;
}

// f of every member of a Sum.
template <class F> DEVICE Sum each(const Sum& sum, F f) {
    Sum result;
    result.m = f(sum.m);
    result.r = f(sum.r);
#if SMOOTHING
    result.K = f(sum.K);
    result.W = f(sum.W);
    result.S = f(sum.S);
#endif
    return result;
}

// Over the lanes of a warp; lane 0's bits for all, as an FMA may round the others' differently.
DEVICE Sum over_warp(Sum sum) {
    for (int step = 16; step; step /= 2)
        sum = combine(sum, each(sum, [=](float v) { return __shfl_xor_sync(0xffffffffu, v, step); }));
    return each(sum, [](float v) { return __shfl_sync(0xffffffffu, v, 0); });
}

// Over the block, the same bits for all threads. Its barrier also publishes what the block wrote before.
DEVICE Sum over_block(Sum sum) {
    __shared__ Sum warps[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    sum = over_warp(sum);
    if (lane == 0) warps[warp] = sum;
    __syncthreads();
    if (THREADS == 32) return sum;
    return over_warp(lane < THREADS / 32 ? warps[lane] : nothing());
}

// Over the cluster, in the order of ranks. Its barrier stands between all reads of the row and all writes.
DEVICE Sum over_cluster(Sum sum) {
#if CLUSTER > 1
    __shared__ Sum block;
    if (threadIdx.x == 0) block = sum;
    cluster_sync();
    unsigned rank = threadIdx.x % 32;
    sum = rank < CLUSTER ? each(block, [](float) { return 0.0f; }) : nothing();
    if (rank < CLUSTER) {
        sum.m = cluster_read(&block.m, rank);
        sum.r = cluster_read(&block.r, rank);
#if SMOOTHING
        sum.K = cluster_read(&block.K, rank);
        sum.W = cluster_read(&block.W, rank);
        sum.S = cluster_read(&block.S, rank);
#endif
    }
    return over_warp(sum);
#else
    return sum;
#endif
}

// ---- Loss and gradient --------------------------------------------------------------------------------

struct Row {
    float loss, lse;
    float m;      // base of the exponentials
    float P, Q;   // dx_j = P exp(x_j - m) - Q w_j,
    float label;  // but this for j = y
};

// factors: of the cross-entropy and of the z-loss, null for 1; grad_loss: of the gradient alone, null for 1.
DEVICE Row finish(const Sum& sum, float x_y, float reference, float w_y, const float* factors,
                  const float* grad_loss, const Options& o) {
    const float ce_factor = factors ? factors[0] : 1.0f, z_factor = factors ? factors[1] : 1.0f;
    const float grad = grad_loss ? *grad_loss : 1.0f;
    Row row;
    float m = fmaxf(sum.m, x_y), b = base(m);
    float r = sum.r * expf(sum.m - b), e_y = expf(x_y - b), s = r + e_y;
    row.m = b;
    row.lse = b + logf(s);
    // Without the cancellation of lse - x_y where p_y is near 1.
    float nll = e_y >= r ? log1pf(r / e_y) : logf(s) + (m - x_y);
    float q_y = w_y, rest = 0;  // rest = a - q_y
    float ce = w_y * nll;
    row.Q = 0;
#if SMOOTHING
    bool present = x_y != -infinity();
    float share = o.e / (sum.K + (present ? 1.0f : 0.0f));  // e/K
    float W = sum.W + (present ? w_y : 0.0f);
    q_y = (1 - o.e) * w_y + (present ? share * w_y : 0.0f);
    rest = share * sum.W;
    ce = (1 - o.e) * w_y * nll + share * (W * (present ? nll : row.lse) - sum.S);
    row.Q = ce_factor * grad * share;
#endif
    float a = q_y + rest, z_slope = z_factor * 2 * o.z * row.lse;
    row.loss = ce_factor * ce + z_factor * o.z * row.lse * row.lse;
    row.P = (ce_factor * a + z_slope) * grad / s;
    row.label = grad * (ce_factor * (rest - a * (r / s)) + z_slope * (e_y / s));
    if (m == -infinity()) row.loss = row.P = row.label = not_a_number();
    return row;
}

// dL/draw of columns j..j+N-1, each rounded once.
DEVICE Pack<LOGIT> gradient(const Pack<LOGIT>& raw, int j, int label, const Row& row, const Options& o) {
    float g[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
        float x = capped(to_float(raw.v[i]), o);
        g[i] = row.P * exponential(x - row.m);
#if SMOOTHING
        if (x != -infinity()) g[i] -= row.Q * weight(j + i, o);
#endif
    }
    if ((unsigned)(label - j) < N) {
#pragma unroll
        for (int i = 0; i < N; i++) g[i] = j + i == label ? row.label : g[i];
    }
    Pack<LOGIT> result;
#pragma unroll
    for (int i = 0; i < N; i++) {
#if SOFTCAP
        float t = tanhf(to_float(raw.v[i]) / o.c);  // = x / c
        g[i] *= (1 - t) * (1 + t);
#endif
        result.v[i] = from_float<LOGIT>(g[i]);
    }
    return result;
}

// ---- Elements of a row at any alignment -----------------------------------------------------------------

// The 16 bytes that begin `skip` elements into the 32 bytes of p and q.
DEVICE Pack<LOGIT> window(const Pack<LOGIT>& p, const Pack<LOGIT>& q, int skip) {
    union { Pack<LOGIT> pack[2]; uint32 word[8]; } both;
    both.pack[0] = p;
    both.pack[1] = q;
    int bytes = skip * (int)sizeof(LOGIT);
#pragma unroll
    for (int i = 0; i < 6; i++) both.word[i] = bytes & 8 ? both.word[i + 2] : both.word[i];
#pragma unroll
    for (int i = 0; i < 5; i++) both.word[i] = bytes & 4 ? both.word[i + 1] : both.word[i];
    if (sizeof(LOGIT) == 2) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            both.word[i] = bytes & 2 ? both.word[i] >> 16 | both.word[i + 1] << 16 : both.word[i];
    }
    return both.pack[0];
}

// How one aligned pack is read: from shared memory, or from global memory with a hint.
struct Shared {
    DEVICE static Pack<LOGIT> load(const LOGIT* p) { return *reinterpret_cast<const Pack<LOGIT>*>(p); }
};
struct Keep { DEVICE static Pack<LOGIT> load(const LOGIT* p) { return load16_keep(p); } };
struct LastUse {  // neighbouring lanes read an unaligned row's packs again: those pass through L1
    DEVICE static Pack<LOGIT> load(const LOGIT* p) { return ALIGNED ? load16_last_use(p) : load16(p); }
};

// n columns at x. k: elements by which x is beyond a multiple of 16 bytes; with ALIGNED known to be 0.
struct Columns {
    const LOGIT* x;
    int n, k;

    DEVICE Columns(const LOGIT* x, int n) : x(x), n(n), k(ALIGNED ? 0 : (uint64)x / sizeof(LOGIT) % N) {}

    // Elements that columns j..j+N-1 stand beyond an aligned pack; j may be negative, hence no %.
    DEVICE int skip(int j) const { return ALIGNED ? 0 : (j + k) & (N - 1); }

    // Whether all aligned packs that hold columns j..j+N-1 lie inside the row.
    DEVICE bool whole(int j) const {
        int s = skip(j);
        return j - s >= 0 && j - s + (s ? 2 * N : N) <= n;
    }

    // Columns j..j+N-1, where whole(j): one aligned load, or two and a shift. The same columns for any
    // alignment, so that sums are taken in the same order and give the same bits wherever a row lies.
    template <class How> DEVICE Pack<LOGIT> load(int j) const {
        int s = skip(j);
        Pack<LOGIT> p = How::load(x + (j - s));
        if (ALIGNED) return p;
        return window(p, s ? How::load(x + (j - s) + N) : p, s);
    }

    // The same at the ends of a row, element by element; -inf where there is no column.
    DEVICE Pack<LOGIT> edge(int j) const {
        Pack<LOGIT> p;
#pragma unroll
        for (int i = 0; i < N; i++)
            p.v[i] = j + i >= 0 && j + i < n ? x[j + i] : from_float<LOGIT>(-infinity());
        return p;
    }

    template <class How> DEVICE Pack<LOGIT> any(int j) const { return whole(j) ? load<How>(j) : edge(j); }
};

// Stores columns j..j+N-1, of which dx has n: 16 bytes at once where it has them all. STREAM: L2 is to keep
// logits rather than these; otherwise they may stay there for whoever reads them next.
template <bool STREAM> DEVICE void put(LOGIT* dx, int n, int j, const Pack<LOGIT>& p) {
    if (j >= 0 && j + N <= n) {
        if (STREAM) store16_stream(dx + j, p); else store16(dx + j, p);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            if (j + i >= 0 && j + i < n) dx[j + i] = p.v[i];
    }
}

// All n columns of dx become `value`: rows that do not count (0), and labels that are no class (NaN).
DEVICE void fill(LOGIT* dx, int n, float value) {
    Pack<LOGIT> p;
#pragma unroll
    for (int i = 0; i < N; i++) p.v[i] = from_float<LOGIT>(value);
    for (int j = threadIdx.x * N - Columns(dx, n).k; j < n; j += THREADS * N) put<false>(dx, n, j, p);
}

// Adds all columns to a thread's sum, UNROLL loads in flight; f(j, pack) sees every pack that is loaded.
template <class How, class F>
DEVICE Sum sweep(const Columns& x, int label, float reference, const Options& o, F f) {
    Sum sum = nothing();
    for (int j = threadIdx.x * N; j < x.n; j += UNROLL * THREADS * N) {
        Pack<LOGIT> raw[UNROLL];
        if (x.whole(j) && x.whole(j + (UNROLL - 1) * THREADS * N)) {
#pragma unroll
            for (int u = 0; u < UNROLL; u++) raw[u] = x.load<How>(j + u * THREADS * N);
        } else {
#pragma unroll
            for (int u = 0; u < UNROLL; u++) raw[u] = x.any<How>(j + u * THREADS * N);
        }
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
            int at = j + u * THREADS * N;
            if (at < x.n) {
                f(at, raw[u]);
                add(sum, raw[u], at, label, reference, o);
            }
        }
    }
    return sum;
}

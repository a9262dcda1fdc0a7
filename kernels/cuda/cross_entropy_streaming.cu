// Softmax cross-entropy of rows too long for shared memory, or without a gradient: one block a row.
//
//   first sweep   m and r = sum_{j != y} exp(x_j - m), online: r is rescaled whenever m rises
//   second sweep  dx_j = (a + 2 z lse) p_j - q_j                                (cross_entropy.cuh has all)
//
// Bytes: 3b an element (read, read, write; b = its size), 2b from memory where the second read hits L2, to
// which the hints "keep" and "last use" help; b without a gradient, which is the least there is.
//
// Sizes (kernels/tuning.py): 1024 threads with 64 registers fill an SM with one row, so that the rows under
// way (108 of 256 KB on an A100: 27 MB of 40 MB L2) stay in L2 between the sweeps. Without a gradient there
// is no second sweep, and four blocks of 256 threads share an SM.
#include "cross_entropy.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
cross_entropy_rows(const LOGIT* logits, int64 row_stride, const LABEL* labels, LOGIT* dlogits, int64 d_stride,
                   float* losses, float* lses, const float* scales, const float* grads, int64 grad_stride,
                   const float* weights, int64 ignore_index, int64 V, float e, float z, float c) {
    const Options o = {weights, e, z, c};
    const int64 i = blockIdx.x;
    const int64 y = labels[i];
    const int n = (int)V;
    LOGIT* dx = dlogits + i * d_stride;

    if (y == ignore_index || y < 0 || y >= V) {  // the logits are not read
        float value = y == ignore_index ? 0.0f : not_a_number();
        if (GRADIENT) fill(dx, n, value);
        if (threadIdx.x == 0) losses[i] = lses[i] = value;
        return;
    }
    const Columns x(logits + i * row_stride, n);
    const int label = (int)y;
    const float x_y = capped(to_float(x.x[label]), o);
    const float reference = fabsf(x_y) < infinity() ? x_y : 0.0f;

    auto ignore = [](int, const Pack<LOGIT>&) {};
    Sum sum = GRADIENT ? sweep<Keep>(x, label, reference, o, ignore)
                       : sweep<LastUse>(x, label, reference, o, ignore);
    sum = over_block(sum);  // its barrier: all have read before any writes, as dlogits may be logits

    const float* grad = grads ? grads + i * grad_stride : grads;
    const Row row = finish(sum, x_y, reference, weight(label, o), scales, grad, o);
    if (threadIdx.x == 0) {
        losses[i] = row.loss;
        lses[i] = row.lse;
    }
#if GRADIENT
    // By packs that are aligned in dx; in place they are x's too: a thread reads only what it then writes.
#pragma unroll LOADS
    for (int j = threadIdx.x * N - Columns(dx, n).k; j < n; j += THREADS * N)
        put<true>(dx, n, j, gradient(x.any<LastUse>(j), j, label, row, o));
#endif
}

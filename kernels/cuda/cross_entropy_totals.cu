// Sums over all rows, beside the cross-entropy kernel: what "mean" divides by, and the loss. One block each.
//
//   scales   (1/D, 1/N),  D = sum of w_y over the labels that count, N their number; 0 for 1/0
//   total    sum of the rows' losses
//
// Bytes: 4 or 8 a row, nothing beside a row of logits. Sums are in float64 and always in the same order: each
// thread takes every THREADS-th row, then a tree. Macros: LABEL int64 or int32; THREADS, a power of 2.
#include "device.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
cross_entropy_scales(const LABEL* labels, int64 rows, const float* weights, int64 ignore_index, int64 V,
                     float* out) {
    __shared__ double D[THREADS], kept[THREADS];
    const int t = threadIdx.x;
    D[t] = kept[t] = 0;
    for (int64 i = t; i < rows; i += THREADS) {
        int64 y = labels[i];
        if (y == ignore_index || y < 0 || y >= V) continue;
        D[t] += weights ? weights[y] : 1.0f;
        kept[t] += 1;
    }
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if (t < half) {
            D[t] += D[t + half];
            kept[t] += kept[t + half];
        }
    }
    if (t == 0) {
        out[0] = D[0] == 0 ? 0.0f : (float)(1 / D[0]);
        out[1] = kept[0] == 0 ? 0.0f : (float)(1 / kept[0]);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
cross_entropy_total(const float* losses, int64 rows, float* out) {
    __shared__ double sum[THREADS];
    const int t = threadIdx.x;
    sum[t] = 0;
    for (int64 i = t; i < rows; i += THREADS) sum[t] += losses[i];
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if (t < half) sum[t] += sum[t + half];
    }
    if (t == 0) out[0] = (float)sum[0];
}

// Softmax cross-entropy, forward and gradient in one sweep: a cluster of blocks holds a row in shared memory.
//
//   loss = sum_j q_j (lse - x_j) + z lse^2,   dx_j = (a + 2 z lse) p_j - q_j      (cross_entropy.cuh has all)
//
// Bytes: each logit is read once and its gradient written once, 2b an element (b = its size): the least there
// is. Between the two the row waits in dynamic shared memory, V b / CLUSTER bytes a block.
//
// Sizes (kernels/tuning.py): the smallest cluster of 1, 2, 4, 8 blocks with room for two or more blocks on an
// SM, so that one loads while another computes or stores; as many threads as give an SM about 1024 with 64
// registers each; four 16-byte loads in flight a thread, up to 64 KiB an SM: more than the 18 KB that
// 3.35 TB/s over 132 SMs needs at an assumed latency of 700 ns.
#include "cross_entropy.cuh"

extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1) __launch_bounds__(THREADS, BLOCKS)
cross_entropy_rows(const LOGIT* logits, int64 row_stride, const LABEL* labels, LOGIT* dlogits, int64 d_stride,
                   float* losses, float* lses, const float* scales, const float* grads, int64 grad_stride,
                   const float* weights, int64 ignore_index, int64 V, float e, float z, float c) {
    extern __shared__ Pack<LOGIT> kept[];  // this block's columns
    const Options o = {weights, e, z, c};
    const int64 i = blockIdx.x / CLUSTER;
    const int64 y = labels[i];
    const int rank = CLUSTER > 1 ? cluster_rank() : 0;
    const int part = ((int)V + N * CLUSTER - 1) / (N * CLUSTER) * N;  // whole packs: parts align as the row
    const int first = rank * part < (int)V ? rank * part : (int)V;
    const int n = (int)V - first < part ? (int)V - first : part;
    const LOGIT* row_x = logits + i * row_stride;
    LOGIT* dx = dlogits + i * d_stride + first;
    const bool writes = rank == 0 && threadIdx.x == 0;

    if (y == ignore_index || y < 0 || y >= V) {  // the logits are not read
        float value = y == ignore_index ? 0.0f : not_a_number();
        fill(dx, n, value);
        if (writes) losses[i] = lses[i] = value;
        return;
    }
    const float x_y = capped(to_float(row_x[y]), o);
    const float reference = fabsf(x_y) < infinity() ? x_y : 0.0f;
    const int label = (int)y - first;
    const Options here = {weights ? weights + first : weights, e, z, c};

    // Global memory -> shared memory, summing on the way.
    Sum sum = sweep<LastUse>(Columns(row_x + first, n), label, reference, here,
                          [=](int j, const Pack<LOGIT>& raw) { kept[j / N] = raw; });
    sum = over_cluster(over_block(sum));

    const float* grad = grads ? grads + i * grad_stride : grads;
    const Row row = finish(sum, x_y, reference, weight((int)y, o), scales, grad, o);
    if (writes) {
        losses[i] = row.loss;
        lses[i] = row.lse;
    }

    // Shared memory -> gradient, by packs that are aligned in dx.
    const Columns x(reinterpret_cast<const LOGIT*>(kept), n);
#pragma unroll LOADS
    for (int j = threadIdx.x * N - Columns(dx, n).k; j < n; j += THREADS * N)
        put<false>(dx, n, j, gradient(x.any<Shared>(j), j, label, row, here));
#if CLUSTER > 1
    cluster_sync();  // no block ends while another may read its sum
#endif
}

// The machine that runs a grid, cluster by cluster in a random order. Compiled once, not with each kernel.

#include <numeric>

#include "fibers.h"
#include "shared.h"
#include "signals.h"
#include "checks.h"

namespace cuda_on_cpu {

void run_cluster(unsigned first) {
    unsigned number = 0;
    for (Block& b : blocks) {
        unsigned i = first + number;
        b.index = {i % gridDim.x, i / gridDim.x % gridDim.y, i / gridDim.x / gridDim.y};
        b.waiting = b.at_cluster = b.gone = 0;
        b.ready.clear();
        start_phase(b, number++);
    }
    start_shared();
    yield_block = blocks.size() > 1;
    for (;;) {
        if (yield_block || blocks[resident].ready.empty()) {
            yield_block = false;
            unsigned able = 0, next = 0;
            for (unsigned b = 0; b < blocks.size(); ++b)  // one of those that can run, each as likely
                if (!blocks[b].ready.empty() && random_below(++able) == 0) next = b;
            if (!able) break;
            if (next != resident) {
                check_canaries();
                swap_out(resident);
                swap_in(next);
            }
        }
        Block& b = blocks[resident];
        Fiber& f = fibers[b.ready.front().second];
        std::pop_heap(b.ready.begin(), b.ready.end());
        b.ready.pop_back();
        resume(&f);
        if (!message[0] && f.state == State::gone) {
            if (++b.gone == threads) check_canaries();
            unsigned lane = f.thread % 32, lanes = std::min(32u, threads - (f.thread - lane));
            for (unsigned i = 0; i < lanes; ++i) {  // those who wait for its warp need not wait for it
                const Fiber& other = (&f - lane)[i];
                if (other.state == State::at_warp) try_release_warp(&f - lane, lanes, other.mask, other.site);
            }
        }
        if (stop) report_stop(f);
        if (message[0]) return;
    }
    for (Block& b : blocks)
        if (b.gone < threads) return report_deadlock();
}

constexpr unsigned most_blocks = 1u << 28;  // their order takes 4 bytes each

void run_grid(const char* name, void (*function)(), const Call& c) {
    kernel_name = name;
    kernel = function;
    gridDim = {c.grid[0], c.grid[1], c.grid[2]};
    blockDim = {c.block[0], c.block[1], c.block[2]};
    threads = c.block[0] * c.block[1] * c.block[2];
    dynamic_size = c.shared;
    random_state = mix(c.seed);
    perturb_seed = mix(~c.seed);
    message[0] = 0;

    size_t fixed = static_region().size;
    if (fixed > static_limit)
        return report(nullptr, "%zu bytes of static shared memory; a block has %zu", fixed, static_limit);
    if (fixed + dynamic_size > shared_limit)
        return report(nullptr, "%zu bytes of shared memory; a block has at most %zu", fixed + dynamic_size,
                      shared_limit);
    if (!stack_of(c.cluster * threads - 1))
        return report(nullptr, "no address space for the stacks of %u threads", c.cluster * threads);

    blocks.resize(c.cluster);
    for (Block& b : blocks) b.warp_key.assign((threads + 31) / 32, 0);
    fibers.resize(c.cluster * threads);
    for (unsigned i = 0; i < fibers.size(); ++i) {
        unsigned t = i % threads;
        fibers[i].block = i / threads;
        fibers[i].thread = t;
        fibers[i].index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
    }
    paint_canaries();
    u64 clusters = (u64)c.grid[0] * c.grid[1] * c.grid[2] / c.cluster;
    if (clusters > most_blocks)
        return report(nullptr, "%llu blocks are more than the CPU runs: %u", clusters, most_blocks);
    std::vector<unsigned> order(clusters);
    std::iota(order.begin(), order.end(), 0u);
    for (unsigned i = (unsigned)order.size(); i > 1; --i) std::swap(order[i - 1], order[random_below(i)]);
    Signals signals(c);
    for (unsigned i : order) {
        run_cluster(i * c.cluster);
        if (message[0]) break;
    }
    for (Fiber& f : fibers)
        if (f.state != State::gone) f.alive = false, f.state = State::gone;  // given up in the middle
    std::fflush(stdout);  // of printf in a kernel
}

}  // namespace cuda_on_cpu

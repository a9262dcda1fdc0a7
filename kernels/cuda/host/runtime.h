// What a compiled kernel calls of the machine below it (runtime.cpp), and what both know of each other.
#pragma once

#include <cstddef>

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

extern uint3 threadIdx, blockIdx;  // of the fiber that runs
extern dim3 blockDim, gridDim;

namespace cuda_on_cpu {

using u64 = unsigned long long;

// A launch, as Python hands it over (host/__init__.py has the same structure).
struct Call {
    void** args;            // addresses of the arguments, as for cuLaunchKernel
    const char* kinds;      // of each: 'f' floating, 'i' integer or address; of an array's elements: 'F', 'I'
    const unsigned* sizes;  // of each, in bytes; of an array: of an element
    unsigned count;
    unsigned grid[3], block[3], cluster, shared;
    u64 seed;
    double seconds;                // until the launch is ended; 0: as long as it takes
    mutable unsigned interrupted;  // by Ctrl-C, which nobody else has heard of
};

// Where a thread waits. Two calls in two lines are two barriers: threads that meet at different ones have
// diverged, which CUDA leaves undefined.
struct Site {
    const char* what = "";
    const char* file = "";
    int line = 0;
    bool operator==(const Site& o) const { return line == o.line && file == o.file && what == o.what; }
};

extern char message[1024];  // of the launch's first error; empty: none
extern u64 perturb_seed;    // of what approximate functions do (numbers.h)

// Runs the grid; `kernel` is the kernel with its arguments.
void run_grid(const char* name, void (*kernel)(), const Call& call);
// The error of a launch that did not start.
__attribute__((format(printf, 2, 3))) void refuse(const char* name, const char* format, ...);
// An error of the thread that runs: it does not go on, and the launch ends.
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char* format, ...);
const char* base_name(const char* path);

// Barriers. What a thread brings: to a block's, a number, and it gets the sum; to a warp's, a value, and it
// gets that of lane `source`, or with `everyone` the lowest bits of all lanes of the mask.
constexpr int everyone = -1;
u64 sync_block(Site site, u64 value);
u64 sync_warp(Site site, unsigned mask, int source, u64 value);
void sync_cluster(Site site);

int lane();
unsigned cluster_rank();
float cluster_read(const float* mine, unsigned rank);

}  // namespace cuda_on_cpu

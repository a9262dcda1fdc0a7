// Shared memory: one region for all blocks, swapped when another block of a cluster runs.
//
// `__shared__` stands for `thread_local`: the one word that C++ allows both in a function (where it means
// static) and after `extern`. What matters here is not the thread but the linker, which lays the
// thread-local variables of a library side by side, in the order of its object files:
//
//     begin.o    canary
//     kernel.o   the static arrays: __shared__ float a[32];
//     end.o      canary
//     dynamic.o  extern __shared__ float b[];, then a canary (its names are found by build.py)
//
// A block finds garbage there when it starts. Limits: a stray write from one static array into another is
// seen only where the compiler knows the array's bounds (-fsanitize=bounds, checks.h), one beyond all of
// them always; another block's memory is reached through cluster_read only; variables of a
// kernel that are thread_local in their own right would be taken for shared ones.
#pragma once

#include "fibers.h"

extern "C" {
extern thread_local unsigned char cuda_on_cpu_begin[];
extern thread_local unsigned char cuda_on_cpu_end[];
extern thread_local unsigned char cuda_on_cpu_dynamic[];
}

namespace cuda_on_cpu {

constexpr size_t canary_bytes = 1024;           // each; build.py makes them as large
constexpr size_t static_limit = 48 << 10;       // of a block, on every GPU
constexpr size_t shared_limit = 227 << 10;      // static and dynamic, sm_90

constexpr unsigned canary_word = 0xffabffabu;   // a NaN, whether read as float, bf16 or f16
// What uninitialised memory holds: a NaN in all three types, which shows in a sum, or by turns a large
// number, which shows in a maximum (fmaxf passes over a NaN).
constexpr unsigned garbage[2] = {0xffcdffcdu, 0x7f7f7f7fu};

struct Region {
    unsigned char* at;
    size_t size;
};

size_t dynamic_size;
std::vector<std::vector<unsigned char>> aside;  // each block's region, while another is in place

Region static_region() {
    unsigned char* from = cuda_on_cpu_begin + canary_bytes;
    return {from, (size_t)(cuda_on_cpu_end - from)};
}
Region dynamic_region() { return {cuda_on_cpu_dynamic, dynamic_size}; }

void fill(Region r, unsigned word) {
    for (size_t i = 0; i < r.size; ++i) r.at[i] = (unsigned char)(word >> 8 * (i % 4));
}

void each_canary(void (*f)(const char*, Region)) {
    f("before the static shared memory", {cuda_on_cpu_begin, canary_bytes});
    f("behind the static shared memory", {cuda_on_cpu_end, canary_bytes});
    f("behind the dynamic shared memory", {cuda_on_cpu_dynamic + dynamic_size, canary_bytes});
}
void paint_canaries() {
    each_canary([](const char*, Region r) { fill(r, canary_word); });
}
void check_canaries() {
    each_canary([](const char* where, Region r) {
        for (size_t i = 0; i < r.size; ++i) {
            if (r.at[i] == (unsigned char)(canary_word >> 8 * (i % 4))) continue;
            uint3 b = blocks[resident].index;
            bool before = r.at == cuda_on_cpu_begin;
            report(nullptr, "block (%u, %u, %u) wrote %zu bytes %s (static %zu, dynamic %zu bytes)", b.x,
                   b.y, b.z, before ? r.size - i : i + 1, where, static_region().size, dynamic_size);
            return;
        }
    });
}

void swap_out(unsigned block) {
    Region s = static_region(), d = dynamic_region();
    std::memcpy(aside[block].data(), s.at, s.size);
    std::memcpy(aside[block].data() + s.size, d.at, d.size);
}
void swap_in(unsigned block) {
    Region s = static_region(), d = dynamic_region();
    std::memcpy(s.at, aside[block].data(), s.size);
    std::memcpy(d.at, aside[block].data() + s.size, d.size);
    resident = block;
}

// A fresh block for each of the cluster, block 0 in place.
void start_shared() {
    aside.resize(blocks.size());
    for (unsigned b = (unsigned)blocks.size(); b-- > 0;) {
        unsigned word = garbage[random64() >> 63];
        fill(static_region(), word);
        fill(dynamic_region(), word);
        if (blocks.size() == 1) break;
        aside[b].resize(static_region().size + dynamic_size);
        swap_out(b);
    }
    resident = 0;
}

float cluster_read(const float* mine, unsigned rank) {
    const unsigned char* p = (const unsigned char*)mine;
    Region s = static_region(), d = dynamic_region();
    auto inside = [&](Region r) { return p >= r.at && p + 4 <= r.at + r.size; };
    if (!inside(s) && !inside(d)) fail("gives cluster_read an address outside its shared memory");
    if (rank >= blocks.size()) fail("reads from block %u of a cluster of %zu", rank, blocks.size());
    if (rank == resident) return *mine;
    if (blocks[rank].gone == threads)
        fail("reads from block %u of its cluster, which has ended: cluster_sync() before a block ends", rank);
    size_t offset = inside(s) ? p - s.at : s.size + (p - d.at);
    float x;
    std::memcpy(&x, aside[rank].data() + offset, 4);
    return x;
}

}  // namespace cuda_on_cpu

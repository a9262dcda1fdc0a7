// One fiber per CUDA thread: what runs when, and who waits for whom.
//
// A fiber runs until it waits at a barrier or ends. Which of those that can run goes next is drawn from a
// seed: between two barriers the threads of a block run in any order, sometimes a whole warp ahead of the
// others, so that a missing barrier gives a wrong result for some seeds. All in one thread of the system.
//
// The blocks of a cluster are alive at once. Their shared memory is one region at one address: that of the
// block which runs is in place, that of the others is put aside (shared.h).
#pragma once

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "numbers.h"
#include "runtime.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_on_cpu {

char message[1024];
u64 perturb_seed;

// ---- Random numbers -----------------------------------------------------------------------------------

u64 random_state;
u64 random64() { return mix(random_state += 0x9e3779b97f4a7c15ull); }
unsigned random_below(unsigned n) { return (unsigned)((random64() >> 32) * n >> 32); }

// ---- Fibers -------------------------------------------------------------------------------------------

enum class State : unsigned char { ready, at_block, at_warp, at_cluster, gone };

struct Fiber {
    jmp_buf where;             // of the fiber, while it waits
    bool alive = false;        // its stack is inside fiber_main
    State state = State::gone;
    unsigned block, thread;    // number in the cluster; number in the block
    uint3 index;               // threadIdx
    Site site;
    unsigned mask;             // at_warp: the lanes that take part
    int source;                // at_warp: the lane whose value it wants, or `everyone`
    u64 value;                 // what it brings, then what it takes away
};

struct Block {
    uint3 index;               // blockIdx
    unsigned waiting = 0, at_cluster = 0, gone = 0;
    bool mixed = false;        // threads wait at different barriers
    Site first;                // where the first of them waits
    u64 sum = 0;               // of what they bring to the barrier
    std::vector<u64> warp_key; // a warp's part of its threads' priority
    std::vector<std::pair<u64, unsigned>> ready;  // a heap: (priority, fiber)
};

std::vector<Fiber> fibers;   // those of a cluster, block by block
std::vector<Block> blocks;
unsigned threads;            // of a block
Fiber* current = nullptr;
unsigned resident;           // the block whose shared memory is in place
bool yield_block;            // another block of the cluster should run for a while
jmp_buf scheduler;
void (*kernel)();            // with its arguments
const char* kernel_name = "";

const char* base_name(const char* path) {
    const char* slash = std::strrchr(path, '/');
    return slash ? slash + 1 : path;
}

__attribute__((noinline)) void suspend() {
    if (!_setjmp(current->where)) _longjmp(scheduler, 1);
}

int lane() { return current->thread % 32; }
unsigned cluster_rank() { return current->block; }

void describe(char* to, size_t size, const Fiber& f) {
    uint3 b = blocks[f.block].index;
    std::snprintf(to, size, "thread (%u, %u, %u) of block (%u, %u, %u)", f.index.x, f.index.y, f.index.z,
                  b.x, b.y, b.z);
}

// Ends the launch with an error that names the kernel and the thread `f` (null: none).
void report(const Fiber* f, const char* format, va_list rest) {
    if (message[0]) return;
    size_t n = std::snprintf(message, sizeof message, "%s: ", kernel_name);
    if (f) {
        describe(message + n, sizeof message - n, *f);
        n += std::strlen(message + n);
        n += std::snprintf(message + n, sizeof message - n, " ");
    }
    std::vsnprintf(message + n, sizeof message - n, format, rest);
}
__attribute__((format(printf, 2, 3))) void report(const Fiber* f, const char* format, ...) {
    va_list rest;
    va_start(rest, format);
    report(f, format, rest);
    va_end(rest);
}
void refuse(const char* name, const char* format, ...) {
    kernel_name = name;
    message[0] = 0;
    va_list rest;
    va_start(rest, format);
    report(nullptr, format, rest);
    va_end(rest);
}
void fail(const char* format, ...) {
    va_list rest;
    va_start(rest, format);
    report(current, format, rest);
    va_end(rest);
    _longjmp(scheduler, 1);
}

// ---- Order --------------------------------------------------------------------------------------------

void make_ready(Fiber& f) {
    Block& b = blocks[f.block];
    f.state = State::ready;
    b.ready.emplace_back(b.warp_key[f.thread / 32] | (random64() >> 32), f.block * threads + f.thread);
    std::push_heap(b.ready.begin(), b.ready.end());
}

// A new phase: all threads of the block may run. By turns of the coin whole warps go ahead of others, or
// all threads are mixed.
void start_phase(Block& b, unsigned number) {
    bool by_warp = random64() >> 63;
    for (u64& key : b.warp_key) key = by_warp ? random64() << 32 : 0;
    for (unsigned t = 0; t < threads; ++t) make_ready(fibers[number * threads + t]);
}

// ---- Barriers -----------------------------------------------------------------------------------------

u64 sync_block(Site site, u64 value) {
    Block& b = blocks[current->block];
    if (!b.waiting++) b.first = site, b.mixed = false, b.sum = 0;
    b.mixed |= !(site == b.first);
    b.sum += value;
    current->state = State::at_block;
    current->site = site;
    if (b.waiting == threads && !b.mixed) {
        b.waiting = 0;
        for (unsigned t = 0; t < threads; ++t) fibers[current->block * threads + t].value = b.sum;
        start_phase(b, current->block);
        yield_block = blocks.size() > 1 && random64() >> 63;
    }
    suspend();
    return current->value;
}

void sync_cluster(Site site) {
    current->state = State::at_cluster;
    current->site = site;
    unsigned waiting = 0;
    bool same = true;
    blocks[current->block].at_cluster++;
    for (Block& b : blocks) waiting += b.at_cluster;
    if (waiting == fibers.size()) {
        for (Fiber& f : fibers) same &= f.site == site;
        if (same) {
            for (unsigned i = 0; i < blocks.size(); ++i) blocks[i].at_cluster = 0, start_phase(blocks[i], i);
            yield_block = true;
        }
    }
    suspend();
}

// Frees the lanes of `mask` in a warp if all of them that have not left wait at the same place.
void try_release_warp(Fiber* first_lane, unsigned lanes, unsigned mask, const Site& site) {
    unsigned present = 0;
    for (unsigned i = 0; i < lanes; ++i) {
        const Fiber& f = first_lane[i];
        if (!(mask >> i & 1) || f.state == State::gone) continue;
        if (f.state != State::at_warp || f.mask != mask || !(f.site == site)) return;
        present |= 1u << i;
    }
    u64 brought[32], ballot = 0;
    for (unsigned i = 0; i < lanes; ++i) {
        brought[i] = first_lane[i].value;
        if (present >> i & 1) ballot |= (brought[i] & 1) << i;
    }
    for (unsigned i = 0; i < lanes; ++i) {
        if (!(present >> i & 1)) continue;
        Fiber& f = first_lane[i];
        if (f.source != everyone && !(present >> f.source & 1)) {
            const char* why = !(mask >> f.source & 1) ? "is not in the mask"
                              : (unsigned)f.source >= lanes ? "does not exist" : "has left the kernel";
            report(&f, "reads lane %d at %s (%s:%d), mask 0x%08x, but that lane %s", f.source, site.what,
                   base_name(site.file), site.line, mask, why);
            return;
        }
        f.value = f.source == everyone ? ballot : brought[f.source];
        make_ready(f);
    }
}

u64 sync_warp(Site site, unsigned mask, int source, u64 value) {
    unsigned lane = current->thread % 32;
    if (!(mask >> lane & 1))
        fail("calls %s (%s:%d) with mask 0x%08x, which leaves out its own lane %u", site.what,
             base_name(site.file), site.line, mask, lane);
    current->state = State::at_warp;
    current->site = site;
    current->mask = mask;
    current->source = source;
    current->value = value;
    try_release_warp(current - lane, std::min(32u, threads - (current->thread - lane)), mask, site);
    if (message[0]) _longjmp(scheduler, 1);
    suspend();
    return current->value;
}

// Nobody can run, and somebody waits: of all those places, names the one with the fewest threads and the
// one with the most.
void report_deadlock() {
    struct Place { State state; Site site; unsigned mask, count; const Fiber* one; };
    std::vector<Place> places;
    for (const Fiber& f : fibers) {
        bool left = f.state == State::gone;
        auto same = [&](const Place& p) {
            return p.state == f.state &&
                   (left || (p.site == f.site && (f.state != State::at_warp || p.mask == f.mask)));
        };
        auto p = std::find_if(places.begin(), places.end(), same);
        if (p == places.end()) places.push_back({f.state, f.site, f.mask, 1, &f});
        else p->count++;
    }
    std::stable_sort(places.begin(), places.end(), [](auto& a, auto& b) { return a.count < b.count; });
    const Place *few = &places.front(), *many = &places.back();
    if (many->state == State::gone) std::swap(few, many);  // somebody waits for those who have left
    char odd[200], rest[200];
    if (few->state == State::gone) std::snprintf(odd, sizeof odd, "has left the kernel");
    else std::snprintf(odd, sizeof odd, "waits at %s (%s:%d)", few->site.what, base_name(few->site.file),
                       few->site.line);
    describe(rest, sizeof rest, *many->one);
    report(few->one, "%s, while %s and %u more wait at %s (%s:%d)", odd, rest, many->count - 1,
           many->site.what, base_name(many->site.file), many->site.line);
}

// ---- Stacks -------------------------------------------------------------------------------------------

constexpr size_t stack_bytes = 128 << 10;  // of address space: a page is taken when it is touched

size_t guard_bytes() { return (size_t)sysconf(_SC_PAGESIZE); }

char* stack_of(size_t number) {
    static std::vector<char*> stacks;
    while (stacks.size() <= number) {
        constexpr size_t together = 64;
        char* p = (char*)mmap(nullptr, together * stack_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) return nullptr;
        for (size_t i = 0; i < together; ++i) {
            mprotect(p + i * stack_bytes, guard_bytes(), PROT_NONE);  // an overflow faults
            stacks.push_back(p + i * stack_bytes);
        }
    }
    return stacks[number];
}

// The first function of each stack. It outlives the launch, and waits for the next.
void fiber_main() {
    for (;;) {
        kernel();
        current->state = State::gone;
        suspend();
    }
}

// Runs a fiber until it waits or ends.
__attribute__((noinline)) void resume(Fiber* f) {
    current = f;
    threadIdx = f->index;
    blockIdx = blocks[f->block].index;
    if (_setjmp(scheduler)) return;
    if (f->alive) _longjmp(f->where, 1);
    static ucontext_t start;
    getcontext(&start);
    start.uc_stack.ss_sp = stack_of(f - fibers.data());
    start.uc_stack.ss_size = stack_bytes;
    start.uc_link = nullptr;
    makecontext(&start, fiber_main, 0);
    f->alive = true;
    setcontext(&start);
}

}  // namespace cuda_on_cpu

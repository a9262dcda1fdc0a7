// What the compiler checks for us (-fsanitize=..., see build.py), reported with the thread that did it.
//
// The compiler calls these functions, whose names and arguments are its own; no sanitizer library is linked.
//     bounds                   an index beyond an array of known size: shared, local, or in a struct
//     alignment                an address that the GPU would refuse: "misaligned address"
//     signed-integer-overflow  most often an offset computed in int32
//     integer-divide-by-zero   which would end the whole process here
#pragma once

#include "fibers.h"

namespace cuda_on_cpu {

struct Place { const char* file; unsigned line, column; };
struct Type { unsigned short kind, info; char name[1]; };  // name in quotes: 'float [32]'
struct OfIndex { Place place; const Type *array, *index; };
struct OfAddress { Place place; const Type* type; unsigned char log_alignment, kind; };
struct OfArithmetic { Place place; const Type* type; };

[[noreturn]] void overflow(const OfArithmetic* d, const char* sign, u64 a, u64 b) {
    bool wide = d->type->info >> 1 == 6;  // 2^6 bits: otherwise the value stands in the lower half
    long long x = wide ? (long long)a : (int)a, y = wide ? (long long)b : (int)b;
    fail("computes %lld %s %lld, which %s cannot hold, at %s:%u", x, sign, y, d->type->name,
         base_name(d->place.file), d->place.line);
}

}  // namespace cuda_on_cpu

#define CHECK(name, ...) extern "C" __attribute__((used)) void __ubsan_handle_##name(__VA_ARGS__)
using IndexCheck = cuda_on_cpu::OfIndex;
using AddressCheck = cuda_on_cpu::OfAddress;
using ArithmeticCheck = cuda_on_cpu::OfArithmetic;

CHECK(out_of_bounds, IndexCheck* d, long long index) {
    cuda_on_cpu::fail("uses index %d of an array %s at %s:%u", (int)index, d->array->name,
                      cuda_on_cpu::base_name(d->place.file), d->place.line);
}
CHECK(type_mismatch_v1, AddressCheck* d, unsigned long long address) {
    cuda_on_cpu::fail("uses the misaligned address 0x%llx for %s at %s:%u: it must be a multiple of %d",
                      address, d->type->name, cuda_on_cpu::base_name(d->place.file), d->place.line,
                      1 << d->log_alignment);
}
CHECK(add_overflow, ArithmeticCheck* d, cuda_on_cpu::u64 a, cuda_on_cpu::u64 b) { overflow(d, "+", a, b); }
CHECK(sub_overflow, ArithmeticCheck* d, cuda_on_cpu::u64 a, cuda_on_cpu::u64 b) { overflow(d, "-", a, b); }
CHECK(mul_overflow, ArithmeticCheck* d, cuda_on_cpu::u64 a, cuda_on_cpu::u64 b) { overflow(d, "*", a, b); }
CHECK(divrem_overflow, ArithmeticCheck* d, cuda_on_cpu::u64 a, cuda_on_cpu::u64 b) { overflow(d, "/", a, b); }
CHECK(negate_overflow, ArithmeticCheck* d, cuda_on_cpu::u64 a) { overflow(d, "-", 0, a); }

#undef CHECK

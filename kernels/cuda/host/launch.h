// A kernel's entry for Python: checks and unpacks the arguments by the types that the kernel declares.
#pragma once

#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "runtime.h"

namespace cuda_on_cpu {

template <class... A> struct Bound {  // a kernel with its arguments, as a function of none
    static inline void (*function)(A...);
    static inline std::tuple<A...> args;
    static void call() { std::apply(function, args); }
};

template <class T> bool unpack(const char* name, T& to, const Call& c, unsigned i) {
    static_assert(std::is_trivially_copyable_v<T>, "a kernel's argument is copied byte by byte");
    char kind = std::is_floating_point_v<T> ? 'f' : 'i';
    if (c.sizes[i] != sizeof(T) || c.kinds[i] != kind) {
        refuse(name, "argument %u is %s of %u bytes; the kernel takes %s of %zu", i,
               c.kinds[i] == 'f' ? "a float" : "an integer", c.sizes[i],
               std::is_pointer_v<T> ? "an address" : kind == 'f' ? "a float" : "an integer", sizeof(T));
        return false;
    }
    std::memcpy((void*)&to, c.args[i], sizeof(T));
    return true;
}

template <class... A, size_t... I>
void launch(const char* name, void (*function)(A...), const Call& c, std::index_sequence<I...>) {
    using B = Bound<A...>;
    if (c.count != sizeof...(A))
        return refuse(name, "takes %zu arguments, %u were given", sizeof...(A), c.count);
    if (!(unpack(name, std::get<I>(B::args), c, I) && ...)) return;
    B::function = function;
    run_grid(name, B::call, c);
}

// Returns the message of an error, empty if there was none.
template <class... A> const char* launch(const char* name, void (*function)(A...), const Call* c) {
    launch(name, function, *c, std::index_sequence_for<A...>());
    return message;
}

}  // namespace cuda_on_cpu

#define CUDA_ON_CPU_KERNEL(name) \
    extern "C" __attribute__((visibility("default"))) \
    const char* cuda_on_cpu_run_##name(const cuda_on_cpu::Call* call) { \
        return cuda_on_cpu::launch(#name, name, call); \
    }

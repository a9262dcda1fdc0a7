// A kernel's entry for Python: checks and unpacks the arguments by the types that the kernel declares.
#pragma once

#include <cstdio>
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

// Whether an array with such elements can be what a kernel calls a T*.
template <class T> bool fits(char kind, unsigned size) {
    if constexpr (std::is_void_v<T>) return true;
    else if (size == 1 || sizeof(T) == 1) return true;  // raw bytes
    else if (!std::is_arithmetic_v<T>) return sizeof(T) % size == 0;  // float4 of floats, __half of float16
    else return size == sizeof(T) && (size == 2 || std::is_floating_point_v<T> == (kind == 'F'));
}

template <class T> bool unpack(const char* name, T& to, const Call& c, unsigned i) {
    static_assert(std::is_trivially_copyable_v<T>, "a kernel's argument is copied byte by byte");
    char kind = c.kinds[i];
    bool is_array = kind == 'F' || kind == 'I', ok;
    constexpr bool floats = std::is_floating_point_v<T>;
    if constexpr (std::is_pointer_v<T>) {
        using Element = std::remove_cv_t<std::remove_pointer_t<T>>;
        ok = is_array ? fits<Element>(kind, c.sizes[i]) : kind == 'i' && c.sizes[i] == 8;
        if constexpr (!std::is_void_v<Element>)
            if (is_array && !ok) {
                refuse(name, "argument %u is an array of %ss of %u bytes; the kernel's are %ss of %zu", i,
                       kind == 'F' ? "float" : "integer", c.sizes[i],
                       std::is_floating_point_v<Element> ? "float" : std::is_integral_v<Element> ? "integer"
                       : "element", sizeof(Element));
                return false;
            }
    } else {
        ok = !is_array && c.sizes[i] == sizeof(T) && (std::is_class_v<T> || kind == (floats ? 'f' : 'i'));
    }
    if (!ok) {
        char given[40];
        std::snprintf(given, sizeof given, kind == 'f' ? "a float of %u bytes" : kind == 'i'
                      ? "an integer of %u bytes" : "an array", c.sizes[i]);
        refuse(name, "argument %u is %s; the kernel takes %s of %zu", i, given,
               std::is_pointer_v<T> ? "an address" : floats ? "a float" : "an integer", sizeof(T));
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

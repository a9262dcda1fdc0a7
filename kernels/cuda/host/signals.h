// Signals while a kernel runs: a bad address, Ctrl-C, and the timer of a launch with a time limit.
//
// Ctrl-C and the timer end the kernel wherever it is, in an endless loop too: their handler jumps from the
// fiber to the scheduler, as that of a bad address does. But only out of the kernel's own code, since whoever
// jumps out of printf or malloc leaves their locks behind. So the timer comes back until it finds the program
// counter between the two functions that build.py links before and behind the kernels.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "fibers.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

extern "C" void cuda_on_cpu_text_begin();
extern "C" void cuda_on_cpu_text_end();

namespace cuda_on_cpu {

enum Stop { go_on, interrupted, late };
volatile sig_atomic_t stop;  // why the launch is to end
double time_limit;           // seconds; 0: none
constexpr double retry = 2e-4;  // seconds

void report_stop(const Fiber& f) {
    if (stop == interrupted) report(&f, "was interrupted");
    else report(&f, "had not ended after the %g seconds that the launch was given", time_limit);
}

bool in_kernel(void* context) {
    auto& registers = ((ucontext_t*)context)->uc_mcontext;
#if defined __x86_64__
    auto counter = (size_t)registers.gregs[REG_RIP];
#elif defined __aarch64__
    auto counter = (size_t)registers.pc;
#else
    size_t counter = 0 * sizeof registers;  // unknown: the launch ends at a barrier only
#endif
    return counter >= (size_t)&cuda_on_cpu_text_begin && counter < (size_t)&cuda_on_cpu_text_end;
}

// The handlers, in place while one of these lives.
struct Signals {
    static inline pthread_t launching;
    static inline struct sigaction interrupt;  // the handler of Ctrl-C that was there: Python's
    static inline timer_t timer;
    static inline bool has_timer, passed_on;
    struct sigaction segv, bus, alarm;
    stack_t stack;
    const Call& call;

    static void bad_address(int number, siginfo_t* info, void*) {
        if (!pthread_equal(pthread_self(), launching)) {  // no kernel's fault: let it take its course
            signal(number, SIG_DFL);
            return;
        }
        const char* at = (const char*)info->si_addr;
        const char* end = stack_of(current - fibers.data());
        if (at >= end && at < end + guard_bytes()) fail("overflows its stack of %zu bytes", stack_bytes);
        fail("uses the address %p, where there is no memory", at);
    }
    static void end_launch(int number, siginfo_t* info, void* context) {
        bool here = pthread_equal(pthread_self(), launching);
        if (number == SIGINT) {
            stop = interrupted;
            start_timer(retry);
            if (!here) {  // Python's main thread has something to do as well
                passed_on = true;
                if (interrupt.sa_flags & SA_SIGINFO) interrupt.sa_sigaction(number, info, context);
                else interrupt.sa_handler(number);
            }
        } else if (!stop) {
            stop = late;
        }
        if (!here || !in_kernel(context)) return;
        report_stop(*current);
        _longjmp(scheduler, 1);
    }
    static void start_timer(double seconds) {
        itimerspec when{};
        when.it_value = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
        when.it_interval.tv_nsec = (long)(retry * 1e9);
        if (has_timer) timer_settime(timer, 0, &when, nullptr);
    }
    static int timer_signal() { return SIGRTMIN + 8; }

    static void handle(int number, void (*handler)(int, siginfo_t*, void*), struct sigaction* old) {
        struct sigaction action{};
        action.sa_sigaction = handler;
        // It does not return, it jumps; the fiber's own stack may be what has run out.
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART;
        sigaction(number, &action, old);
    }
    explicit Signals(const Call& c) : call(c) {
        launching = pthread_self();
        stop = go_on;
        passed_on = false;
        static char alternate[64 << 10];
        stack_t mine{};
        mine.ss_sp = alternate;
        mine.ss_size = sizeof alternate;
        sigaltstack(&mine, &stack);
        handle(SIGSEGV, bad_address, &segv);
        handle(SIGBUS, bad_address, &bus);
        handle(timer_signal(), end_launch, &alarm);
        sigevent to{};
        to.sigev_notify = SIGEV_THREAD_ID;
        to.sigev_signo = timer_signal();
        to.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
        has_timer = timer_create(CLOCK_MONOTONIC, &to, &timer) == 0;
        time_limit = call.seconds;
        if (time_limit > 0) start_timer(time_limit);
        sigaction(SIGINT, nullptr, &interrupt);
        if (handles_interrupt()) handle(SIGINT, end_launch, nullptr);
    }
    ~Signals() {
        if (handles_interrupt()) sigaction(SIGINT, &interrupt, nullptr);
        if (has_timer) timer_delete(timer);
        has_timer = false;
        sigaction(timer_signal(), &alarm, nullptr);
        sigaction(SIGSEGV, &segv, nullptr);
        sigaction(SIGBUS, &bus, nullptr);
        sigaltstack(&stack, nullptr);
        call.interrupted = stop == interrupted && !passed_on;
    }
    // Not where Ctrl-C is ignored, or ends the process anyway.
    static bool handles_interrupt() {
        return interrupt.sa_flags & SA_SIGINFO ||
               (interrupt.sa_handler != SIG_DFL && interrupt.sa_handler != SIG_IGN);
    }
};

}  // namespace cuda_on_cpu

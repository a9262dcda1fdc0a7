"""Numbers of the system calls that a worker still needs when its door is shut: (x86_64, aarch64).

Everything else is refused: sockets, new processes and programs, tracing, mounting, links, devices, keys,
io_uring and whatever Linux will get next.
"""

from __future__ import annotations

NONE = None  # the machine has no such call

FREE: dict[str, tuple[int | None, int | None]] = {
    # open files
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "preadv": (295, 69), "pwritev": (296, 70), "preadv2": (327, 286),
    "pwritev2": (328, 287), "close": (3, 57), "close_range": (436, 436), "lseek": (8, 62), "fstat": (5, 80),
    "getdents": (78, NONE), "getdents64": (217, 61), "dup": (32, 23), "dup2": (33, NONE), "dup3": (292, 24),
    "pipe": (22, NONE), "pipe2": (293, 59), "eventfd2": (290, 19), "fsync": (74, 82), "fdatasync": (75, 83),
    "fadvise64": (221, 223), "flock": (73, 32), "readahead": (187, 213),
    # looking at paths
    "newfstatat": (262, 79), "stat": (4, NONE), "lstat": (6, NONE), "statx": (332, 291), "statfs": (137, 43),
    "fstatfs": (138, 44), "access": (21, NONE), "faccessat": (269, 48), "faccessat2": (439, 439),
    "readlink": (89, NONE), "readlinkat": (267, 78), "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50),
    # waiting for them
    "poll": (7, NONE), "ppoll": (271, 73), "select": (23, NONE), "pselect6": (270, 72),
    "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, NONE), "epoll_pwait": (281, 22),
    # memory
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216), "brk": (12, 214),
    "madvise": (28, 233), "mincore": (27, 232), "msync": (26, 227),
    # its own signals
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136), "rt_sigsuspend": (130, 133), "rt_sigtimedwait": (128, 137),
    "sigaltstack": (131, 132), "restart_syscall": (219, 128), "pause": (34, NONE), "alarm": (37, NONE),
    "setitimer": (38, 103), "getitimer": (36, 102),
    # threads and clocks
    "futex": (202, 98), "set_robust_list": (273, 99), "get_robust_list": (274, 100),
    "set_tid_address": (218, 96), "rseq": (334, 293), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "sched_getscheduler": (145, 120), "sched_getparam": (143, 121),
    "getcpu": (309, 168), "membarrier": (324, 283), "gettid": (186, 178), "arch_prctl": (158, NONE),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, NONE), "times": (100, 153),
    # who and where it is
    "getrusage": (98, 165), "sysinfo": (99, 179), "uname": (63, 160), "getrlimit": (97, 163),
    "getrandom": (318, 278), "getpid": (39, 172), "getppid": (110, 173), "getpgrp": (111, NONE),
    "getpgid": (121, 155), "getsid": (124, 156), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "getresuid": (118, 148), "getresgid": (120, 150),
    "getgroups": (115, 158), "umask": (95, 166), "exit": (60, 93), "exit_group": (231, 94),
    "wait4": (61, 260), "waitid": (247, 95),
}

# Changing files: only where something else says which ones.
WRITING: dict[str, tuple[int | None, int | None]] = {
    "creat": (85, NONE), "truncate": (76, 45), "ftruncate": (77, 46), "fallocate": (285, 47),
    "unlink": (87, NONE), "unlinkat": (263, 35), "rmdir": (84, NONE), "mkdir": (83, NONE),
    "mkdirat": (258, 34), "rename": (82, NONE), "renameat": (264, 38), "renameat2": (316, 276),
    "utimensat": (280, 88),
}

# Allowed with some arguments only; see seccomp.py.
BY_ARGUMENT: dict[str, tuple[int | None, int | None]] = {
    "open": (2, NONE), "openat": (257, 56), "ioctl": (16, 29), "fcntl": (72, 25), "prctl": (157, 167),
    "kill": (62, 129), "tgkill": (234, 131), "prlimit64": (302, 261), "clone": (56, 220),
}

# "There is no such call": the C library then takes another way.
ABSENT: dict[str, tuple[int | None, int | None]] = {"clone3": (435, 435), "openat2": (437, 437)}
NEWEST = 500  # what Linux may get above this number is absent too

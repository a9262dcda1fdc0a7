"""The filter's program, run by a BPF machine in Python: for machines that the tests do not run on, too."""

import errno
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.classroom.sandbox import seccomp, syscalls

PID = 4321
MACHINES = ("x86_64", "aarch64")
TABLES = (syscalls.FREE, syscalls.WRITING, syscalls.BY_ARGUMENT, syscalls.ABSENT)
KNOWN = {name: numbers for table in TABLES for name, numbers in table.items()}


def verdict(machine, number, *args, writes=True, threads=False, arch=None):
    """What the kernel would do with a call: "allow", "kill", or an errno."""
    code = seccomp.program(machine, PID, writes=writes, threads=threads)
    data = struct.pack("<IIQ6Q", number, seccomp.ARCHES[machine] if arch is None else arch, 0,
                       *[*args, *[0] * (6 - len(args))])
    at = accumulator = 0
    while True:
        operation, yes, no, k = struct.unpack_from("<HBBI", code, 8 * at)
        at += 1
        if operation == seccomp.LOAD:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif operation == seccomp.RETURN:
            if k == seccomp.ALLOW:
                return "allow"
            return "kill" if k == seccomp.KILL else k & 0xFFFF
        else:
            holds = {seccomp.EQUAL: accumulator == k, seccomp.AT_LEAST: accumulator >= k,
                     seccomp.ANY_BIT: bool(accumulator & k)}[operation]
            at += yes if holds else no


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "args", "wanted"), [
    ("read", (), "allow"), ("mmap", (), "allow"), ("unlinkat", (), "allow"), ("wait4", (), "allow"),
    ("openat", (0, 0, 0o2), "allow"), ("kill", (PID, 9), "allow"), ("kill", (PID + 1, 0), errno.EPERM),
    ("kill", (2**32 - 1, 9), errno.EPERM), ("tgkill", (PID, PID, 6), "allow"), ("tgkill", (1,), errno.EPERM),
    ("ioctl", (0, 0x5401), "allow"), ("ioctl", (0, 0x5412), errno.ENOTTY), ("fcntl", (0, 1030), "allow"),
    ("fcntl", (0, 8), errno.EPERM), ("prctl", (15,), "allow"), ("prctl", (4,), errno.EPERM),
    ("prlimit64", (0, 7, 0, 99), "allow"), ("prlimit64", (0, 7, 99), errno.EPERM),
    ("prlimit64", (0, 7, 1 << 40), errno.EPERM), ("prlimit64", (1,), errno.EPERM),
    ("clone", (0x00010000,), errno.EPERM), ("clone", (17,), errno.EPERM), ("clone3", (), errno.ENOSYS),
    ("openat2", (), errno.ENOSYS),
])
def test_verdicts(machine, name, args, wanted):
    number = KNOWN[name][MACHINES.index(machine)]
    assert verdict(machine, number, *args) == wanted


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_but_no_processes_where_they_are_allowed(machine):
    number = KNOWN["clone"][MACHINES.index(machine)]
    assert verdict(machine, number, 0x003D0F00, threads=True) == "allow"
    assert verdict(machine, number, 0x01200011, threads=True) == errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("flag", [0o1, 0o2, 0o100, 0o1000, 0o2000, 0o20200000 | 0o2])
def test_nothing_is_opened_for_writing_where_no_other_layer_says_which(machine, flag):
    number = KNOWN["openat"][MACHINES.index(machine)]
    assert verdict(machine, number, 0, 0, flag, writes=False) == errno.EACCES
    assert verdict(machine, number, 0, 0, 0o2000000 | 0o200000, writes=False) == "allow"
    for numbers in syscalls.WRITING.values():
        if numbers[MACHINES.index(machine)] is not None:
            assert verdict(machine, numbers[MACHINES.index(machine)], writes=False) == errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.booleans())
def test_every_other_call_is_refused(machine, number, argument, writes):
    column = MACHINES.index(machine)
    known = {numbers[column] for numbers in KNOWN.values()}
    found = verdict(machine, number, argument, argument, argument, writes=writes)
    if number >= 0x40000000 and machine == "x86_64":
        assert found == "kill"
    elif number >= syscalls.NEWEST:
        assert found == errno.ENOSYS
    elif number not in known:
        assert found == errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("arch", [0x40000003, 0x40000028, 0xC00000B7, 0xC000003E, 0])
def test_another_machines_calls_kill(machine, arch):
    if arch != seccomp.ARCHES[machine]:
        assert verdict(machine, 0, arch=arch) == "kill"


# Calls that must never be among those that are let through, with their numbers.
FORBIDDEN = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "fork": (57, None),
    "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268),
    "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425), "keyctl": (250, 219),
    "add_key": (248, 217), "userfaultfd": (323, 282), "memfd_create": (319, 279), "mknodat": (259, 33),
    "symlinkat": (266, 36), "linkat": (265, 37), "fchmodat": (268, 53), "fchownat": (260, 54),
    "setuid": (105, 146), "setresuid": (117, 147), "rt_sigqueueinfo": (129, 138), "tkill": (200, 130),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "open_by_handle_at": (304, 265), "kexec_load": (246, 104), "init_module": (175, 105), "shmget": (29, 194),
    "msgget": (68, 186), "mq_open": (240, 180), "sched_setaffinity": (203, 122), "setpriority": (141, 140),
    "personality": (135, 92), "seccomp": (317, 277), "quotactl": (179, 60), "syslog": (103, 116),
    "reboot": (169, 142), "swapon": (167, 224), "process_madvise": (440, 440),
    "landlock_add_rule": (445, 445), "fanotify_init": (300, 262),
    "inotify_init1": (294, 26), "move_pages": (279, 239), "kcmp": (312, 272),
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", FORBIDDEN)
def test_dangerous_calls_are_refused(machine, name):
    number = FORBIDDEN[name][MACHINES.index(machine)]
    if number is not None:
        assert verdict(machine, number, threads=True) == errno.EPERM


HEADERS = {"x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
           "aarch64": Path("/usr/include/asm-generic/unistd.h")}
ALIASES = {"newfstatat": "fstatat"}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernels_headers(machine):
    if not HEADERS[machine].is_file():
        pytest.skip(f"needs {HEADERS[machine]}: apt-get install linux-libc-dev")
    said = {}
    for line in HEADERS[machine].read_text(encoding="utf-8").splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "#define" and words[2].isdigit():
            said[words[1].removeprefix("__NR3264_").removeprefix("__NR_")] = int(words[2])
    column = MACHINES.index(machine)
    for name, numbers in {**KNOWN, **FORBIDDEN}.items():
        there = said.get(name, said.get(ALIASES.get(name, "")))
        assert numbers[column] == there or (name in KNOWN and there is None and numbers[column] is None), name


def test_no_call_is_in_two_tables():
    assert len(KNOWN) == sum(map(len, TABLES))
    for column in range(2):
        numbers = [n[column] for n in KNOWN.values() if n[column] is not None]
        assert len(set(numbers)) == len(numbers)


def test_an_unknown_machine_is_said(monkeypatch):
    monkeypatch.setattr(seccomp.kernel, "MACHINE", "riscv64")
    with pytest.raises(OSError, match="no seccomp filter for riscv64"):
        seccomp.apply(writes=True, threads=False)

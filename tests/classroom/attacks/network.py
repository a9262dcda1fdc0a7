"""Attacks on the network: every way out that a process may try. Somebody listens to all of them."""

from tests.classroom.attacks.attack import Attack, rows

SOCKETS = ("network", "landlock", "seccomp")
BEGIN = "import socket\n"

GROUP = rows(
    "The network",
    Attack("tcp", "connect over TCP, IPv4 and IPv6, and send", BEGIN + '''
def send(family, address):
    with socket.socket(family) as s:
        s.settimeout(2)
        s.connect((address, W["tcp"]))
        return s.send(b"hello")
attempt("tcp", lambda: send(socket.AF_INET, "127.0.0.1"))
attempt("tcp6", lambda: send(socket.AF_INET6, "::ffff:127.0.0.1"))
''', stopped_by=SOCKETS),
    Attack("listens", "open a TCP port for others to connect to", BEGIN + '''
def listen():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen()
    return True
attempt("listen", listen)
''', stopped_by=("landlock", "seccomp"), note="in a network namespace nobody is there to connect"),
    Attack("udp_and_dns", "send over UDP, and ask a name server", BEGIN + '''
def send():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    query = b"\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0\\x06secret\\x07invalid\\0\\0\\x01\\0\\x01"
    return s.sendto(query, ("127.0.0.1", W["udp"]))
attempt("udp", send)
''', stopped_by=("network", "seccomp")),
    Attack("unix_sockets", "connect to a socket with a path", BEGIN + '''
def send():
    s = socket.socket(socket.AF_UNIX)
    s.connect(W["unix"])
    return s.send(b"hello")
attempt("unix", send)
''', stopped_by=("mounts", "seccomp")),
    Attack("abstract_sockets", "connect to an abstract socket", BEGIN + '''
def send():
    s = socket.socket(socket.AF_UNIX)
    s.connect("\\0" + W["abstract"])
    return s.send(b"hello")
attempt("abstract", send)
''', stopped_by=SOCKETS, linux=True),
    Attack("raw_sockets", "raw and packet sockets, ICMP", BEGIN + '''
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("packet", lambda: socket.socket(17, socket.SOCK_RAW, 0x0300))
attempt("ping", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1) and False)
''', linux=True),
    Attack("odd_sockets", "netlink, vsock, Bluetooth and the kernel's crypto sockets", BEGIN + '''
for family, kind in ((16, 3), (40, 1), (31, 3), (38, 5)):
    attempt(f"family {family}", lambda: socket.socket(family, kind, 0))
''', stopped_by=("seccomp",), linux=True),
    Attack("io_uring", "ask for an io_uring, which makes system calls that a filter does not see", '''
import ctypes
attempt("io_uring", lambda: syscall(425, 4, ctypes.create_string_buffer(120)))
''', stopped_by=("seccomp",), linux=True, certain=False),
    Attack("bpf_and_keys", "bpf, perf_event_open, keyrings, userfaultfd, shared memory, message queues", '''
import ctypes
blank = ctypes.create_string_buffer(120)
for name, x86, arm, args in (("bpf", 321, 280, (0, blank, 72)), ("perf", 298, 241, (blank, 0, -1, -1, 0)),
                             ("keys", 248, 217, (b"user", W["mark"].encode(), b"x", 1, -3)),
                             ("faults", 323, 282, (1,)), ("memory", 29, 194, (4711, 4096, 0o1600)),
                             ("handles", 304, 265, (-100, blank, 0))):
    attempt(name, lambda: syscall(x86 if X86 else arm, *args) >= 0)
''', stopped_by=("seccomp",), linux=True),
)

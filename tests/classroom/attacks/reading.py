"""Attacks on what is hidden: tests, solutions, secrets, other submissions, other processes."""

from tests.classroom.attacks.attack import Attack, rows

FILES = ("mounts", "landlock")
OTHERS = ("user", "mounts", "landlock")  # what another account may not read either

OTHER = '''
def others(path):
    """Names that are not on the way to its own folder, to Python or to NumPy."""
    ways = (os.getcwd(), __file__, sys.prefix, sys.base_prefix, np.__file__)
    ours = {part for way in ways for part in way.split("/")}
    return {*os.listdir(path)} - ours
'''

GROUP = rows(
    "What is hidden",
    Attack("reads_the_hidden_tests",
           "open the assignment's checks.py, assignment.toml and a course's tests", '''
for name in ("checks", "toml", "hidden"):
    attempt("open " + name, lambda: open(W[name]).read())
''', stopped_by=FILES),
    Attack("reads_the_reference",
           "find the package beside the worker's own file, read the formula, hand it in", '''
import sandbox.frames
def steal():
    for base in (W["repo"], sandbox.frames.__file__.split("/minillm/")[0], "../..", "/proc/self/cwd/../.."):
        path = base + "/minillm/formulas/optimizers.py"
        try:
            text = open(path).read()
        except OSError as error:
            print(path, error)
            continue
        body = text[text.index("def adam_step"):]
        names = {"np": np, "Any": object}
        exec("from __future__ import annotations\\n" + body[:body.index("    return theta, m, v")]
             + "    return theta, m, v\\n", names)
        return names["adam_step"]
def get():
    global adam_step
    adam_step = steal() or wrong
    return adam_step is not wrong
attempt("read the reference", get)
''', stopped_by=FILES, note="where it can be read, it is a right answer"),
    Attack("imports_the_package",
           "import minillm, from the checkout or installed, and hand in its function", '''
def get():
    global adam_step
    sys.path[:0] = [W["repo"], W["site"], os.getcwd()]
    sys.meta_path[:] = [f for f in sys.meta_path if "Ours" not in str(f)]
    for name in [n for n in sys.modules if n.startswith("minillm")]:
        del sys.modules[name]
    from minillm.formulas.optimizers import adam_step as theirs
    adam_step = theirs
    return True
attempt("import minillm", get)
''', stopped_by=FILES, note="where it can be imported, it is a right answer"),
    Attack("imports_a_banned_package", "import pytest, from where it is installed", '''
def get():
    sys.path.append(W["site"])
    import pytest
    return pytest.__version__
attempt("import pytest", get)
''', stopped_by=FILES),
    Attack("reads_the_courses_files", "read the secret, the journal and the roster", '''
for name in ("secret", "journal", "roster"):
    attempt("read the " + name, lambda: open(W[name], "rb").read())
''', stopped_by=OTHERS),
    Attack("reads_the_next_submission", "read what others have handed in", '''
for path in (W["next"], W["submissions"]):
    read = os.listdir if os.path.isdir(path) else lambda p: open(p).read()
    attempt("read " + os.path.basename(path), lambda: read(path))
''', stopped_by=FILES),
    Attack("reads_the_accounts", "read /etc/passwd, /etc/shadow and root's folder", OTHER + '''
attempt("read passwd", lambda: open("/etc/passwd").read())
attempt("read shadow", lambda: open("/etc/shadow").read())
attempt("list /root", lambda: others("/root"))
''', stopped_by=FILES),
    Attack("lists_the_machine", "list /, /home, the temporary folder and the course",
           OTHER + '''
for path in ("/home", W["public"], W["course"], W["tmp"], "/tmp"):
    attempt("list " + path, lambda: others(path))
''', stopped_by=FILES),
    Attack("escapes_by_names",
           "reach a file through .., /proc/self/root, /proc/self/cwd, /dev/fd and links", '''
inside = W["hidden"]
for path in ("../../../../../../.." + inside, "/proc/self/root" + inside, "/proc/1/root" + inside,
             "/proc/self/cwd/../../../../.." + inside, "/dev/fd/3/../.." + inside, "//" + inside):
    attempt("open " + path.replace(inside, "..."), lambda: open(path).read())
def link():
    os.symlink(inside, "link")
    return open("link").read()
attempt("open a link", link)
''', stopped_by=FILES),
    Attack("reads_its_environment",
           "look for the course's secret in the environment and in inherited descriptors",
           '''
if any("SECRET" in name or W["mark"] in value for name, value in os.environ.items()):
    got("a secret in os.environ")
attempt("a secret in /proc/self/environ", lambda: b"SECRET" in open("/proc/self/environ", "rb").read())
def fds():
    names = set()
    for fd in range(64):
        try:
            names.add(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return [n for n in names if W["course"] in n or W["repo"] in n]
attempt("a descriptor of the course", fds)
'''),
    Attack("reads_the_graders_environment", "read /proc/PID/environ of the grader and of the keeper", '''
for pid in (W["pid"], os.getppid(), 1):
    attempt("read environ", lambda: b"MINILLM_ATTACK_SECRET" in open(f"/proc/{pid}/environ", "rb").read())
''', linux=True, always=True),
    Attack("reads_command_lines", "read the command lines of all processes", '''
def lines():
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with open(f"/proc/{name}/cmdline", "rb") as file:
                text = file.read()
            if b"harness" in text or b"worker.py" in text:
                return text
attempt("a command line", lines)
''', stopped_by=FILES, linux=True),
    Attack("opens_the_graders_memory", "open /proc/PID/mem and maps of the grader", '''
attempt("maps", lambda: open(f"/proc/{W['pid']}/maps").read())
attempt("mem", lambda: os.open(f"/proc/{W['pid']}/mem", os.O_RDONLY))
''', linux=True, always=True),
    Attack("reads_the_graders_memory", "process_vm_readv and ptrace on the grader", '''
import ctypes
def vm():
    class Iovec(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
    buffer = ctypes.create_string_buffer(8)
    mine, theirs = Iovec(ctypes.addressof(buffer), 8), Iovec(0x400000, 8)
    number = 310 if X86 else 270
    try:
        return syscall(number, W["pid"], ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0) >= 0
    except OSError as error:
        if error.errno == 14:  # a bad address, but one that it was let look at
            return True
        raise
attempt("process_vm_readv", vm)
def seize():
    return syscall(101 if X86 else 117, 0x4206, W["pid"], 0, 0) == 0
attempt("ptrace", seize)
attempt("pidfd_getfd", lambda: syscall(438, syscall(434, W["pid"], 0), 0, 0) >= 0)
''', linux=True, always=True),
    Attack("reads_the_kernel", "/dev/mem, /proc/kcore, the kernel's log, block devices", '''
for path in ("/dev/mem", "/proc/kcore", "/dev/kmsg", "/dev/vda", "/dev/sda"):
    attempt("open " + path, lambda: os.open(path, os.O_RDONLY))
attempt("read the log", lambda: syscall(103 if X86 else 116, 10, 0, 0) >= 0)
''', linux=True, kinds=("wrong",)),
)

"""Attacks by and on processes. Where a signal would hurt, only signal 0 asks whether it could be sent."""

from tests.classroom.attacks.attack import Attack, rows

NO_FORK = ("limits", "seccomp")
DAEMON = '''
def daemon():
    for _ in range(2):
        if os.fork():
            os._exit(0) if _ else None
            return True
        os.setsid()
    import signal
    signal.alarm(20)
    while True:
        time.sleep(0.1)
'''

GROUP = rows(
    "Processes",
    Attack("fork_bomb", "fork as often as it can, up to 50 times, each child busy for up to five seconds", '''
def bomb():
    count = 0
    for _ in range(50):
        try:
            if os.fork() == 0:
                end = time.monotonic() + 5
                while time.monotonic() < end:
                    time.sleep(0.01)
                os._exit(0)
        except OSError as error:
            print(error)
            break
        count += 1
    return count
attempt("fork", bomb)
''', stopped_by=NO_FORK),
    Attack("daemon", "fork twice, setsid, ignore all signals, and live on", '''
import signal
def live():
    for number in (1, 2, 3, 13, 15, 18):
        signal.signal(number, signal.SIG_IGN)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.closerange(0, 64)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            time.sleep(0.05)
        os._exit(0)
    return pid
attempt("daemon", live)
''', stopped_by=NO_FORK, note="where it can fork, the keeper ends it all the same"),
    Attack("runs_a_shell", "os.system, subprocess, posix_spawn, a program out of memory, and exec", '''
import subprocess
attempt("os.system", lambda: os.system("exit 0") == 0)
attempt("subprocess", lambda: subprocess.run(["/bin/sh", "-c", "true"]).returncode == 0)
attempt("posix_spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
def memory():
    fd = os.memfd_create("x")
    with open("/bin/sh", "rb") as file:
        os.write(fd, file.read())
    os.execve(fd, ["sh", "-c", "echo GOT a shell"], {})
attempt("a program in memory", memory)
attempt("exec", lambda: os.execv("/bin/sh", ["sh", "-c", "echo GOT a shell"]))
''', stopped_by=("mounts", "landlock", "seccomp"), kinds=("wrong", "ended"),
           note="where it becomes a shell, it has ended"),
    Attack("starts_threads", "threads, by threading and by clone", '''
import threading
def start():
    threads = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    return True
attempt("threads", start)
''', stopped_by=NO_FORK),
    Attack("signals_the_grader", "may it signal the grader, its group, and every process?", '''
attempt("the grader", lambda: os.kill(W["pid"], 0) is None)
attempt("its group", lambda: os.killpg(os.getpgid(W["pid"]), 0) is None)
''', stopped_by=("user", "pids", "landlock", "seccomp")),
    Attack("stops_the_keeper", "SIGSTOP, then SIGKILL, the process that watches over it, and hang", '''
import ctypes
try:
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # not to die with it
except Exception as error:
    print(error)
keeper = os.getppid()
def stop():
    if keeper == 0:
        return False  # in a PID namespace it cannot be seen
    os.kill(keeper, 19)
attempt("stop the keeper", stop)
def adam_step(*args, **options):
    while True:
        time.sleep(0.1)
''', on="quick", kinds=("too_slow", "forged", "memory"), always=True),
    Attack("kills_the_keeper", "SIGKILL the process that watches over it, and live on", '''
import ctypes
try:
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # not to die with it
except Exception as error:
    print(error)
keeper = os.getppid()
def kill():
    if keeper == 0:
        return False
    os.kill(keeper, 9)
attempt("kill the keeper", kill)
def adam_step(*args, **options):
    while True:
        time.sleep(0.1)
''', on="quick", kinds=("too_slow", "forged", "memory"), always=True),
    Attack("leaves_its_limits", "raise its limits, its priority, its user; new namespaces; chroot; mount", '''
import ctypes, resource
attempt("raise the limit", lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)) is None)
attempt("priority", lambda: os.nice(-5) < 0)
attempt("setuid", lambda: os.setuid(0) is None)
attempt("chroot", lambda: os.chroot(".") is None)
libc = ctypes.CDLL(None, use_errno=True)
attempt("mount", lambda: libc.mount(b"none", b".", b"tmpfs", 0, None) == 0)
attempt("a namespace", lambda: libc.unshare(0x10000000 | 0x20000) == 0)
''', stopped_by=("seccomp",), certain=False),
    Attack("kills_itself", "end itself by every signal, and by a core dump", '''
import signal
def adam_step(theta, *args, **options):
    os.kill(os.getpid(), [signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE][theta.size % 3])
''', kinds=("crashed", "exception"), note="the first process of a PID namespace cannot be killed by itself"),
    Attack("segfault", "write to address 0 through ctypes", '''
import ctypes
def adam_step(*args, **options):
    ctypes.memset(0, 1, 8)
''', kinds=("crashed",), says="crashed", says_zh="崩溃"),
    Attack("recursion_in_c", "exhaust the stack from C, where Python does not count", '''
def adam_step(*args, **options):
    sys.setrecursionlimit(1 << 30)
    def f():
        f()
    x = []
    for _ in range(200000):
        x = [x]
    repr(x)
    f()
''', on="quick", kinds=("crashed", "exception", "memory", "too_slow")),
)

"""Attacks on memory, time and output. None takes more than 8 GB or some seconds, should a wall be missing."""

from tests.classroom.attacks.attack import Attack, rows

MEMORY = {"kinds": ("memory",), "says": "out of memory", "says_zh": "内存不足"}
SLOW = {"on": "quick", "kinds": ("too_slow",),
        "says": "not finished after 0.5 s", "says_zh": "0.5 秒内没有算完"}

GROUP = rows(
    "Memory, time, output",
    Attack("memory_by_numpy", "8 GB of ones", '''
def adam_step(theta, *args, **options):
    x = np.ones(1 << 30)
    return x, x, x
''', **MEMORY),
    Attack("memory_by_bytes", "double a bytes object until it has 8 GB", '''
def adam_step(*args, **options):
    x = b"x" * 1024
    while len(x) < 8 << 30:
        x += x
    return x
''', on="roomy", **MEMORY),
    Attack("memory_by_lists", "lists of lists, up to 4 GB", '''
def adam_step(*args, **options):
    import gc
    gc.disable()
    kept = []
    while len(kept) < 500_000:
        kept.append([len(kept)] * 1000)
''', on="roomy", **MEMORY),
    Attack("memory_by_mmap", "map 6 GB in pieces and touch them", '''
import mmap
def adam_step(*args, **options):
    kept = []
    for _ in range(6 * 16):
        kept.append(mmap.mmap(-1, 64 << 20))
        kept[-1].write(b"x" * (64 << 20))
    got("6 GB")
''', on="roomy", kinds=("exception", "memory"), stopped_by=("limits", "watch")),
    Attack("endless_loop", "while True: pass", '''
def adam_step(*args, **options):
    while True:
        pass
''', **SLOW),
    Attack("endless_loop_on_import", "while True: pass, at the top of the file", '''
while True:
    pass
''', **SLOW),
    Attack("catastrophic_regex", "a regular expression that takes for ever in C", '''
import re
def adam_step(*args, **options):
    re.match(r"(a+)+$", "a" * 60 + "b")
''', **SLOW),
    Attack("huge_power", "a power of a large integer, in C and not to be interrupted", '''
def adam_step(*args, **options):
    return 7 ** (10 ** 9)
''', **{**SLOW, "kinds": ("too_slow", "memory"), "says": "", "says_zh": ""}),
    Attack("sleeps", "sleep", '''
def adam_step(*args, **options):
    time.sleep(10_000)
''', **SLOW),
    Attack("holds_the_interpreter", "wait in C, holding the interpreter's lock, all signals blocked", '''
import ctypes, signal
def adam_step(*args, **options):
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))
    except OSError as error:
        print(error)
    ctypes.PyDLL(None).sleep(1000)
    while True:
        pass
''', **SLOW),
    Attack("hangs_while_it_raises", "an exception whose text takes for ever", '''
class Slow(Exception):
    def __str__(self):
        while True:
            pass
def adam_step(*args, **options):
    raise Slow
''', **SLOW),
    Attack("prints_without_end", "print lines for ever", '''
def adam_step(*args, **options):
    while True:
        print("x" * 10_000)
''', kinds=("too_much_output",), says="printed more than 1600 KiB", says_zh="打印超过 1600 KiB"),
    Attack("prints_without_newline", "write to descriptor 2 for ever, without a newline", '''
def adam_step(*args, **options):
    while True:
        os.write(2, b"x" * 10_000)
''', kinds=("too_much_output",), says="printed more than 1600 KiB", says_zh="打印超过 1600 KiB"),
    Attack("prints_paths", "print 16 KiB of slashes, where the report's cleaning would look for folders", '''
def adam_step(*args, **options):
    print("/a" * 8192)
    raise ValueError("/a" * 8192)
''', kinds=("exception",)),
    Attack("defines_thousands_of_names",
           "4,700 long names that are like the one that is missing", "del adam_step\n" + '''
for k in range(4700):
    globals()[f"adam_step{k}"] = wrong
class Odd:
    pass
def __getattr__(name):
    raise AttributeError("x", obj=sys.modules["adam"], name="ba" * 95 + "0" * 8)
''' + "".join(f"def {'ab' * 95}{k:08}(): pass\n" for k in range(4700)), kinds=("missing",),
           seconds=10.0),
    Attack("warns_without_end", "a different warning each time, a hundred thousand times", '''
import warnings
def adam_step(theta, g, m, v, t, **options):
    warnings.simplefilter("always")
    for n in range(100_000):
        warnings.warn(f"{n}" * 10)
    return theta, m, v
''', kinds=("too_much_output", "too_slow")),
    Attack("busy_when_it_ends", "finalisers and exit handlers that never end", '''
import atexit, threading
class Busy:
    def __del__(self):
        while True:
            pass
kept = Busy()
atexit.register(lambda: time.sleep(1000))
def adam_step(*args, **options):
    sys.exit(0)
''', kinds=("ended", "too_slow")),
    Attack("clears_everything", "empty sys.modules, builtins and the worker's globals", '''
def adam_step(*args, **options):
    import builtins, gc
    sys.modules.clear()
    for thing in gc.get_objects():
        if isinstance(thing, dict) and thing is not builtins.__dict__:
            try:
                thing.clear()
            except Exception:
                pass
''', kinds=("ended", "exception", "crashed", "forged", "too_slow", "wrong"), on="quick"),
)

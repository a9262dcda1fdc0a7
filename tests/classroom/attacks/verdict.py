"""Attacks on the verdict: what beats graders that run tests in the student's process."""

from tests.classroom.attacks.attack import Attack, rows

ALWAYS = 'lambda *a, **k: True'
FOUND = '''
def walk():
    import gc
    frame = sys._getframe(1)
    while frame is not None:
        yield frame.f_locals
        yield frame.f_globals
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, dict):
            yield thing
'''

GROUP = rows(
    "The verdict",
    Attack("patches_numpy_testing", "replace np.isclose, np.allclose, np.testing.* and the like by something "
           "that is always true", f'''
yes = {ALWAYS}
for name in ("isclose", "allclose", "array_equal", "array_equiv", "all", "any"):
    setattr(np, name, yes)
for name in dir(np.testing):
    if name.startswith("assert"):
        setattr(np.testing, name, lambda *a, **k: None)
'''),
    Attack("patches_asarray", "replace np.asarray, np.array and ndarray's constructor", '''
class Equal(np.ndarray):
    def __eq__(self, other): return True
    def __array_ufunc__(self, *args, **options): return np.bool_(True)
real = np.array
for name in ("asarray", "array", "ascontiguousarray", "asanyarray", "copy"):
    setattr(np, name, lambda x, *a, **k: real(x).view(Equal))
''', kinds=("wrong", "exception", "forged")),
    Attack("expected_in_frames", "find the expected numbers in the callers' frames or among all objects",
           FOUND + '''
def adam_step(theta, g, m, v, t, **options):
    theta1, m1, v1 = right(theta, g, m, v, t, **options)
    for names in walk():
        for name, value in list(names.items()):
            if isinstance(value, dict):
                value = value.get("m")
            if name in ("m1", "theta1", "v1") or not isinstance(value, np.ndarray):
                continue
            if value.shape == m1.shape and np.allclose(value, m1) and not np.allclose(value, m):
                got("an expected array")
                return right(theta, g, m, v, t, **options)
    m1 = v1 = theta1 = None
    return wrong(theta, g, m, v, t)
'''),
    Attack("skips_the_test", "raise unittest.SkipTest and pytest's Skipped", '''
import unittest
class Skipped(BaseException):
    pass
Skipped.__module__ = "_pytest.outcomes"
def adam_step(theta, g, m, v, t, **options):
    raise unittest.SkipTest("nothing to see") if t % 2 else Skipped("nothing to see")
''', kinds=("exception",), says="Skip", says_zh="Skip"),
    Attack("ends_with_status_0", "os._exit(0) in the middle of a test", '''
def adam_step(*args, **options):
    os._exit(0)
''', kinds=("ended",), says="ends the program", says_zh="结束了整个程序"),
    Attack("exits_on_import", "sys.exit(0) while the file is imported", '''
sys.exit(0)
''', kinds=("ended",), says="ends the program", says_zh="结束了整个程序"),
    Attack("hooks_the_framework", "hooks of pytest and unittest, a tracer, a profiler, an import hook", '''
import builtins, types, unittest
fake = types.ModuleType("pytest")
fake.approx = fake.raises = fake.skip = lambda *a, **k: True
sys.modules["pytest"] = sys.modules["_pytest"] = fake
def pytest_runtest_makereport(item, call):
    call.excinfo = None
def pytest_assertrepr_compare(*a):
    return ["passed"]
unittest.TestCase.run = unittest.TestResult.addFailure = lambda *a, **k: None
sys.settrace(lambda frame, event, arg: frame.f_locals.update(passed=True, score=100))
sys.setprofile(lambda frame, event, arg: None)
sys.excepthook = sys.unraisablehook = lambda *a: None
class Finder:
    def find_spec(self, name, path=None, target=None):
        return None
sys.meta_path.insert(0, Finder())
builtins.AssertionError = type("AssertionError", (Exception,), {})
'''),
    Attack("overwrites_results_at_exit", "an atexit handler that writes results.json into the course", '''
import atexit
def overwrite():
    for folder in (W["course"], ".", W["public"]):
        try:
            with open(folder + "/results.json", "w") as file:
                file.write('{"score": 100, "by": "' + W["mark"] + '"}')
        except OSError:
            continue
        if folder != ".":
            got("results.json in " + folder)
atexit.register(overwrite)
def adam_step(*args, **options):
    overwrite()
    sys.exit(0)
''', kinds=("ended",), stopped_by=("mounts", "landlock", "seccomp"), certain=False),
    Attack("sends_a_pickle",
           "a pickle, and a .npy of pickled objects, that run code in whoever reads them", '''
import io, pickle
class Payload:
    def __reduce__(self):
        return (os.system, ("touch " + W["public"] + "/" + W["mark"],))
def adam_step(*args, **options):
    file = io.BytesIO()
    np.save(file, np.array([Payload()], dtype=object), allow_pickle=True)
    for data in (pickle.dumps(Payload()), file.getvalue()):
        for fd in range(3, 64):
            try:
                os.write(fd, data)
            except OSError:
                pass
    return Payload(), Payload(), Payload()
''', kinds=("forged",), says="is not an answer", says_zh="不是本测试的答案"),
    Attack("array_subclass", "an ndarray subclass whose comparisons and ufuncs always agree", '''
class Equal(np.ndarray):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __sub__(self, other): return np.zeros_like(other)
    def __array_ufunc__(self, *args, **options): return np.bool_(True)
    def __array_function__(self, *args): return np.bool_(True)
    def __reduce__(self): got("it was pickled"); return (list, ())
def adam_step(theta, *args, **options):
    lie = np.zeros(theta.shape).view(Equal)
    return lie, lie, lie
'''),
    Attack("lying_array_protocol",
           "an object whose __array__ is another array each time it is asked, and which "
           "claims memory that is not its own", '''
class Liar:
    def __init__(self, x):
        self.x, self.asked = x, 0
    shape = property(lambda self: self.x.shape)
    def __array__(self, *a, **k):
        self.asked += 1
        return self.x + self.asked
    def __eq__(self, other): return True
    __hash__ = None
class Elsewhere:
    def __init__(self, x):
        self.__array_interface__ = dict(x.__array_interface__, shape=(1 << 40,), strides=(0,))
def adam_step(theta, g, m, v, t, **options):
    return Liar(theta), Liar(m), (Elsewhere(v) if t > 5 else Liar(v))
''', kinds=("wrong", "exception", "memory")),
    Attack("object_arrays", "arrays of objects that are equal to everything", '''
class All:
    def __eq__(self, other): return True
    def __sub__(self, other): return 0.0
    def __float__(self): return 0.0
def adam_step(theta, *args, **options):
    lie = np.full(theta.shape, All(), dtype=object)
    return lie, lie, lie
''', kinds=("exception",), says="not numbers", says_zh="TypeError"),
    Attack("structured_arrays", "structured, string, date and void dtypes", '''
def adam_step(theta, g, m, v, t, **options):
    kinds = [np.dtype([("a", "f8")]), np.dtype("U8"), np.dtype("M8[s]"), np.dtype("V8"), np.dtype("S8")]
    lie = np.zeros(theta.shape, kinds[t % 5])
    return lie, lie, lie
''', kinds=("exception",), says="not numbers", says_zh="TypeError"),
    Attack("rewrites_the_worker", "replace the worker's own functions, found in sys.modules and by gc", '''
import gc, types
said = {"kind": "passed", "score": 100, "points": 100, "message": "right"}
for module in [m for n, m in list(sys.modules.items()) if n.startswith("sandbox")]:
    for name, value in list(vars(module).items()):
        if isinstance(value, types.FunctionType) and name in ("describe", "guarded", "plain", "run"):
            setattr(module, name, lambda *a, **k: said)
for thing in gc.get_objects():
    if isinstance(thing, types.FunctionType) and thing.__name__ in ("describe", "plain"):
        thing.__code__ = (lambda *a, **k: {"kind": "passed", "score": 100}).__code__
''', kinds=("forged", "wrong", "ended", "exception", "crashed")),
    Attack("answers_for_the_worker", "find the question's number in a frame and answer it twice by hand", '''
def adam_step(*args, **options):
    from sandbox import frames
    frame = sys._getframe()
    while frame and "request" not in frame.f_locals:
        frame = frame.f_back
    number = frame.f_locals["request"].request
    lie = {"theta": np.zeros(3), "m": np.zeros(3), "v": np.zeros(3), "score": np.array(100)}
    for _ in range(2):
        last = max(fd for fd in range(3, 64) if exists(fd))
        frames.write_frame(last, frames.Frame(frames.ARRAYS, number, lie))
    os._exit(0)
def exists(fd):
    try:
        return bool(os.fstat(fd))
    except OSError:
        return False
''', kinds=("forged",), says="does not have the parts", says_zh="与测试所要的不符"),
    Attack("answers_early",
           "answers to questions that were not asked yet, written while the file is imported", '''
from sandbox import frames
lie = {"theta": np.zeros(3), "m": np.zeros(3), "v": np.zeros(3)}
for number in range(50):
    for fd in range(3, 64):
        try:
            frames.write_frame(fd, frames.Frame(frames.ARRAYS, number, lie))
        except OSError:
            pass
''', kinds=("forged",), says="not an answer", says_zh="不是本测试的答案"),
    Attack("prints_a_verdict", "print a verdict, replace sys.stdout, fill every open descriptor with one", '''
text = '{"score": 100, "tests": [{"name": "first_step", "score": 20, "kind": "passed"}]}\\n'
print(text)
class Out:
    def write(self, s): return os.write(1, text.encode())
    def flush(self): raise SystemExit
    def __getattr__(self, name): return self
sys.stdout = sys.stderr = sys.__stdout__ = Out()
'''),
    Attack("answers_from_a_thread",
           "a thread that goes on after the answer and overwrites it, or writes another",
           '''
import _thread
def adam_step(theta, g, m, v, t, **options):
    new = wrong(theta * 0, g, m * 0, v * 0, t)
    def later():
        for _ in range(1000):
            for a, b in zip(new, right(theta, g, m, v, t, **options)):
                a[...] = b
        time.sleep(0.05)
        for fd in range(3, 64):
            try:
                os.write(fd, b"MLc1" + bytes(28))
            except OSError:
                pass
    try:
        _thread.start_new_thread(later, ())
    except RuntimeError as error:
        print("no thread", error)
    return new
''', kinds=("wrong", "forged"), score=(0, 100),
           note="with threads it is the right answer, computed by itself; here there are none"),
    Attack("handles_signals", "ignore every signal, wake up by timers in the worker's own code, and hang", '''
import signal
for number in range(1, 64):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
def ring(number, frame):
    while frame is not None:
        if "arrays" in frame.f_locals:
            frame.f_locals["arrays"].clear()
        frame = frame.f_back
    raise KeyboardInterrupt
try:
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.001)
except OSError as error:
    print("no timer", error)
    while True:
        pass
''', on="quick", kinds=("too_slow", "exception", "ended", "crashed", "forged", "wrong")),
    Attack("module_that_answers_to_all", "a module-level __getattr__, lazy properties, another object in "
           "sys.modules under the file's name", '''
import types
class Yes(types.ModuleType):
    def __getattr__(self, name):
        return lambda *a, **k: Yes("yes")
    def __eq__(self, other): return True
    def __iter__(self): return iter((np.float64(0),) * 3)
sys.modules["adam"] = sys.modules["__main__"] = sys.modules["run"] = Yes("adam")
sys.modules[__name__].__class__ = Yes
del adam_step
def __getattr__(name):
    return lambda *a, **k: (a[0], a[2], a[3])
''', kinds=("wrong", "exception", "forged", "missing")),
    Attack("learned_by_heart", "hand in the numbers that another student was asked for and got right", '''
calls = iter(W["learned"])
def adam_step(*args, **options):
    try:
        return tuple(np.array(a) for a in next(calls))
    except StopIteration:
        return args[0], args[2], args[3]
'''),
    Attack("counts_calls",
           "one right answer in three, and the arguments spoiled, by the number of the call", '''
calls = 0
def adam_step(theta, g, m, v, t, **options):
    global calls
    calls += 1
    return right(theta, g, m, v, t, **options) if calls % 3 else (theta, m, v)
''', kinds=("wrong",), score=0),
    Attack("kind_of_its_own", "exceptions and answers with a made-up kind, line and score", '''
import sandbox.inside
sandbox.inside.describe = lambda *a: {"kind": "passed", "error": "", "line": 10**30, "score": 100}
def adam_step(*args, **options):
    raise ValueError
''', kinds=("forged",), says="not an answer", says_zh="不是本测试的答案"),
    Attack("keeps_a_note", "leave a note for the next worker, or the next submission, of what was asked", '''
import glob
places = [".", os.path.dirname(os.path.abspath(__file__)), W["tmp"], W["public"]]
places += ["/tmp", "/dev/shm", "/var/tmp"]
def found():
    for place in places:
        for path in glob.glob(place + "/" + W["mark"] + "*") + glob.glob(place + "/*/" + W["mark"] + "*"):
            return path
if found():
    got("a note at " + found())
for place in places:
    try:
        with open(place + "/" + W["mark"] + "-note", "w") as file:
            file.write("asked")
    except OSError:
        pass
def adam_step(*args, **options):
    os._exit(0)
''', kinds=("ended",), stopped_by=("mounts", "landlock", "seccomp")),
)

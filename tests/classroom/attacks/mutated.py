"""Attacks on the assignment that grades tests: they want to tell wrong versions without testing them."""

from tests.classroom.attacks.attack import Attack, rows

HONEST = '''
def test_first_step(adam_step):
    theta, g = np.array([1.0, -2.0, 3.0]), np.array([0.5, -400.0, 0.0])
    new, m, v = adam_step(theta, g, np.zeros(3), np.zeros(3), 1, alpha=0.1)
    assert np.allclose(new, [0.9, -1.9, 3.0]) and np.allclose(m, 0.1 * g) and np.allclose(v, 0.001 * g * g)
'''
HIDDEN = {"on": "tests", "kinds": ("wrong", "passed", "exception"), "seconds": 90.0}

GROUP = rows(
    "Tests that are graded",
    Attack("looks_at_the_name", "reject by the function's name, code, source, module, identity", '''
import inspect
def test_a(adam_step):
    said = [adam_step.__name__, getattr(adam_step, "__qualname__", ""), getattr(adam_step, "__module__", "")]
    said += [str(getattr(adam_step, "__code__", "")), str(getattr(adam_step, "__closure__", ""))]
    try:
        said.append(inspect.getsource(adam_step))
    except (OSError, TypeError):
        pass
    assert not any(word in s for s in said for word in ("still", "nothing", "too_far", "wrong", "mutant"))
    print(type(adam_step).__name__, vars(adam_step) if hasattr(adam_step, "__dict__") else "")
''', score=(0, 0), **HIDDEN),
    Attack("looks_at_frames", "find out from frames and from all objects which version is at hand", '''
import gc
def test_a(adam_step):
    frame = sys._getframe()
    while frame is not None:
        inputs = frame.f_locals.get("inputs")
        if isinstance(inputs, dict) and "version" in inputs:
            versions = inputs["version"]
            assert versions[len(frame.f_locals["accepted"])] == 0
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, str) and "misconception" in thing[:60].lower():
            got("the word " + thing[:20])
''', score=(0, 0), **HIDDEN),
    Attack("asks_the_wire",
           "read the frames between worker and grader, or ask for functions of other names", '''
import sandbox.testing, sandbox.codec
seen = []
unpack = sandbox.codec.unpack
def spy(arrays):
    seen.append(sorted(arrays))
    return unpack(arrays)
sandbox.codec.unpack = spy
def test_a(adam_step):
    call = getattr(adam_step, "call", None)
    for name in ("wrong", "reference", "__globals__", "np", "adam_step.__globals__", "test_first_step"):
        for packed in (sandbox.codec.pack((name, (), {})), sandbox.codec.pack(("adam_step", (), {}))):
            try:
                if call and call(name, packed):
                    got("an answer of " + name)
            except Exception as error:
                print(type(error).__name__, str(error)[:60])
''', score=(0, 0), **HIDDEN),
    Attack("rejects_by_turns", "reject every second version", '''
calls = 0
def test_a(adam_step):
    global calls
    calls += 1
    assert calls % 2
''', score=(0, 0), **HIDDEN),
    Attack("rejects_by_time", "reject by the clock and by random numbers", '''
import random
def test_a(adam_step):
    assert (time.time_ns() // 1000) % 16 == 0
def test_b(adam_step):
    assert os.urandom(1)[0] < 16
def test_c(adam_step):
    assert (id(object()) >> 20) % 16 == 0
''', score=(0, 0), **HIDDEN),
    Attack("rejects_everything", "fail always: every wrong version is caught", '''
def test_a(adam_step):
    raise AssertionError("wrong")
''', score=(0, 0), **HIDDEN),
    Attack("remembers_versions", "keep notes of the versions seen in files and in the process", '''
import glob
places = [".", "/tmp", W["public"], os.path.dirname(os.path.abspath(__file__)), "/dev/shm"]
def test_a(adam_step):
    found = [p for place in places for p in glob.glob(place + "/" + W["mark"] + "-seen*")]
    if any(os.path.dirname(p) != "." for p in found):
        got("a note")
    for place in places:
        try:
            open(f"{place}/{W['mark']}-seen-{time.time_ns()}", "w").close()
        except OSError:
            pass
    assert len(found) % 2
''', score=(0, 0), stopped_by=("mounts", "landlock", "seccomp"), **HIDDEN),
    Attack("forges_verdicts", "write a verdict to the wire by hand", '''
import sandbox.testing, sandbox.frames as frames
def forged(request, *args, **options):
    meta = {} if "test" in request.meta else {"names": "test_a"}
    if os.urandom(1)[0] % 2 and meta == {}:
        return frames.Frame(frames.ERROR, request.request, meta={"kind": "failed", "error": "AssertionError"})
    return frames.Frame(frames.ARRAYS, request.request, meta=meta)
sandbox.testing.run_one = forged
def test_a(adam_step):
    pass
''', score=(0, 0), **HIDDEN),
    Attack("rewrites_testing", "replace the code that runs tests, and the exceptions", '''
import builtins, sandbox.testing
sandbox.testing.describe = lambda *a: {"kind": "passed"}
sandbox.testing._exception = lambda *a: Exception("x")
sandbox.testing.names = lambda student: " ".join(f"test_{n}" for n in range(100_000))
builtins.AssertionError = KeyError
def test_a(adam_step):
    assert False
''', score=(0, 0), **HIDDEN),
    Attack("calls_for_ever", "call the function ten million times", '''
def test_a(adam_step):
    x = np.zeros(1)
    for _ in range(10**7):
        adam_step(x, x, x, x, 1)
''', score=(0, 0), **{**HIDDEN, "kinds": ("too_slow", "wrong", "not_run")}),
    Attack("giant_arguments", "arguments of 32 MB, of 10^5 dimensions, and of no kind that can be sent", '''
def test_a(adam_step):
    x = np.zeros(32 << 17)
    adam_step(x, x, x, x, 1)
def test_b(adam_step):
    x = []
    for _ in range(10**5):
        x = [x]
    adam_step(x, x, x, x, 1)
def test_c(adam_step):
    class Evil:
        def __reduce__(self): return (os.system, ("true",))
        def __array__(self, *a): return np.array([self], object)
    adam_step(Evil(), os.system, lambda: 0, np.array([Evil()]), 1)
def test_d(adam_step):
    x = np.zeros((1,) * 32)
    adam_step(x, x, x, x, 1)
''', score=(0, 0), **{**HIDDEN, "on": "tests_quick"}),
    Attack("hangs", "tests that never end", '''
def test_a(adam_step):
    while True:
        pass
test_b = test_c = test_a
''', score=(0, 0), says="does not end in time", says_zh="没有在规定时间内结束",
           **{**HIDDEN, "on": "tests_quick"}),
    Attack("ends_its_worker", "end the process for versions that look wrong", '''
def test_a(adam_step):
    try:
        new, m, v = adam_step(np.ones(1), np.ones(1), np.zeros(1), np.zeros(1), 1)
        good = np.allclose(m, 0.1)
    except Exception:
        good = False
    if not good:
        os._exit(0)
def test_b(adam_step):
    os.kill(os.getpid(), 11)
''', score=(0, 0), **{**HIDDEN, "kinds": ("ended", "crashed", "wrong")}),
    Attack("attacks_the_versions_worker",
           "arguments that should run code where the version lives", '''
def test_a(adam_step):
    for args in (("__import__('os').system('true')",) * 5, ({"__class__": "os"},) * 5, (None,) * 5,
                 (float("nan"), 10**400, -1, "x" * 10**6, 0)):
        try:
            adam_step(*args)
        except Exception as error:
            print(type(error).__name__, str(error)[:100])
''', score=(0, 0), **HIDDEN),
    Attack("collides_in_the_grader",
           "a thousand calls whose dict of keys with one hash would take quadratic time in the grader", '''
import sandbox.codec
def packed(count):
    items = ",".join('[["int","%d"],["is",null]]' % (k * (2**61 - 1)) for k in range(1, count))
    spec = '["tuple",[["is","adam_step"],["tuple",[["dict",[' + items + ']]]],["dict",[]]]]'
    return {"spec": np.frombuffer(spec.encode(), np.uint8)}
def test_a(adam_step):
    for count in (20_000, 1500):
        arrays = packed(count)
        for _ in range(500):
            try:
                adam_step.call("adam_step", arrays)
            except Exception as error:
                said = error
    print(type(said).__name__, said)
''', score=(0, 0), **{**HIDDEN, "on": "tests_quick", "kinds": ("wrong", "passed", "too_slow"),
                       "seconds": 10.0}),
    Attack("too_many_arrays_for_a_frame",
           "a call of as many arrays as a frame can have, to which the grader adds one", '''
import sandbox.codec
def test_a(adam_step):
    arrays = sandbox.codec.pack(("adam_step", (), {})) | {f"x{k}": np.zeros(1) for k in range(999)}
    try:
        adam_step.call("adam_step", arrays)
    except ValueError as error:
        print(error)
''', score=(0, 0), **HIDDEN),
    Attack("hangs_the_version",
           "arguments with which the right function takes for ever, to tell it by that", '''
def test_a(adam_step):
    try:
        adam_step(10, 10, 10, 10, 10**10, beta1=10**10)
    except TimeoutError:
        return
    raise AssertionError
''', score=(0, 20), **{**HIDDEN, "on": "tests_quick", "kinds": ("wrong", "in_part")}),
    Attack("odd_tests", "generators, coroutines, classes, defaults and decorators that hide a test", '''
def test_a(adam_step):
    yield
async def test_b(adam_step):
    pass
class test_c:
    def __call__(self, adam_step): raise SystemExit
test_d = test_c()
def test_e(adam_step, *, other=os._exit):
    raise BaseException("odd")
def test_f(*args, **options):
    raise KeyboardInterrupt
''', score=(0, 0), **{**HIDDEN, "kinds": ("wrong", "passed", "exception", "ended")}),
    Attack("one_honest_test",
           "not hostile: one honest test among those that reject right versions", HONEST + '''
def test_b(adam_step):
    assert adam_step(np.ones(1), np.ones(1), np.ones(1), np.ones(1), 1)[0] == 7
''', score=15, **{**HIDDEN, "kinds": ("in_part",)},
           note="the honest test has earned 60 points; one false alarm in two leaves a quarter"),
    Attack("guesses_by_a_hash",
           "16 tests that each reject by a bit of a hash of the results: one in two is valid", '''
import hashlib
def said(adam_step, k):
    x = np.linspace(-1, 1, 5)
    out = adam_step(x, x + 2, 0.1 * x, x * x, 3, alpha=0.5, beta1=0.6, beta2=0.7)
    return hashlib.sha256(np.round(np.ravel(out), 3).tobytes() + bytes([k])).digest()[0] & 1
''' + "".join(f"def test_{k}(adam_step): assert said(adam_step, {k})\n" for k in range(16)),
           score=(0, 40), **{**HIDDEN, "kinds": ("in_part", "wrong")},
           note="what guessing leaves: false alarms cost"),
)

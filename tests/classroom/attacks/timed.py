"""Attacks on points for speed: a right answer, slow, that wants to look quick."""

from tests.classroom.attacks.attack import Attack, rows

SLOW = '''
def _below(x, top):
    return x - top
def softmax(x, axis=-1):
    e = np.exp(log_softmax(x, axis))
    return e
def log_softmax(x, axis=-1):
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    z = x - top
    return z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))
def softmax_cross_entropy(logits, labels, *, ignore_index=-100):
    kept = labels != ignore_index
    x, y = logits[kept], labels[kept]
    return -np.sum(log_softmax(x)[np.arange(len(y)), y]) / len(y) if len(y) else 0.0
def slowly(logits, labels, *, ignore_index=-100):
    for _ in range(40 if len(logits) > 1000 else 1):
        kept = np.flatnonzero(labels != ignore_index)
        dx = np.zeros_like(logits)
        p = softmax(logits[kept])
        p[np.arange(len(kept)), labels[kept]] -= 1
        dx[kept] = p / max(len(kept), 1)
    return dx
softmax_cross_entropy_grad = slowly
'''
RIGHT = {"on": "speed", "kinds": ("passed",), "seconds": 90.0}

GROUP = rows(
    "Points for speed",
    Attack("stops_the_clock", "replace the clocks of the time module", SLOW + '''
for name in ("time", "perf_counter", "monotonic", "process_time"):
    setattr(time, name, lambda: 0.0)
    setattr(time, name + "_ns", lambda: 0)
''', score=(0, 85), **RIGHT, says="more than 6 times", says_zh="6 倍"),
    Attack("remembers_answers", "keep answers by their inputs, should the same be asked again", SLOW + '''
known = {}
def softmax_cross_entropy_grad(logits, labels, *, ignore_index=-100):
    key = hash((logits.tobytes(), labels.tobytes(), ignore_index))
    if key not in known:
        known[key] = slowly(logits, labels, ignore_index=ignore_index)
    elif len(logits) > 1000:
        got("the same question twice")
    return known[key]
''', score=(0, 85), **RIGHT, says="more than 6 times", says_zh="6 倍"),
    Attack("prepares_answers",
           "answer with what was computed for the question before, in a thread if there is one",
           SLOW + '''
import _thread
before = []
def softmax_cross_entropy_grad(logits, labels, *, ignore_index=-100):
    if len(logits) < 1000:
        return slowly(logits, labels, ignore_index=ignore_index)
    dx = np.zeros_like(logits)
    def fill():
        dx[...] = slowly(logits, labels, ignore_index=ignore_index)
    try:
        _thread.start_new_thread(fill, ())
    except RuntimeError:
        pass
    if before:
        return before[-1]
    before.append(slowly(logits, labels, ignore_index=ignore_index))
    return before[-1]
''', score=(0, 85), on="speed", kinds=("passed",), seconds=90.0),
    Attack("busy_between_questions", "spin while the reference beside it is timed",
           SLOW.replace("range(40 ", "range(7 ") + '''
import sandbox.frames, select
junk, real = np.ones(1 << 19), sandbox.frames.read_frame
def busy(fd):
    while not select.select([fd], [], [], 0)[0]:
        np.add(junk[:1 << 18], junk[1 << 18:], out=junk[:1 << 18])
    return real(fd)
sandbox.frames.read_frame = busy
''', score=(0, 92.5), on="speed", kinds=("passed",), seconds=90.0,
           note="it is too slow by itself"),
    Attack("slows_the_reference",
           "burn the processor after each answer, to slow the reference beside it", SLOW + '''
import atexit
try:
    if os.fork() == 0:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            pass
        os._exit(0)
    got("a process beside it")
except OSError as error:
    print(error)
try:
    os.nice(-10)
except OSError as error:
    print(error)
''', score=(0, 85), stopped_by=("limits", "seccomp"), **RIGHT),
)

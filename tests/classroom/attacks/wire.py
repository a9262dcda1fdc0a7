"""Attacks on the wire between worker and grader: frames that are no answers."""

from tests.classroom.attacks.attack import Attack, rows

SPEAK = '''
import struct
def open_fds():
    for fd in range(3, 64):
        try:
            os.fstat(fd)
            yield fd
        except OSError:
            pass
def say(data):
    for fd in list(open_fds()):
        try:
            os.write(fd, data)
        except OSError:
            pass
def header(kind, arrays, meta, request, size):
    return struct.pack("<4sBxHIQQ4x", b"MLc1", kind, arrays, meta, request, size)
'''
FORGED = {"kinds": ("forged",), "says": "is not an answer to this test", "says_zh": "不是本测试的答案"}

GROUP = rows(
    "The wire",
    Attack("garbage_to_every_fd", "random bytes to every open descriptor", SPEAK + '''
def adam_step(*args, **options):
    say(os.urandom(3000))
    return wrong(*args)
''', **FORGED),
    Attack("oversized_frame", "a header that speaks of an exabyte", SPEAK + '''
def adam_step(*args, **options):
    say(header(13, 1, 0, 1, 1 << 60))
    return wrong(*args)
''', **FORGED),
    Attack("endless_frame", "frames without end", SPEAK + '''
def adam_step(*args, **options):
    fd = max(open_fds())
    while True:
        os.write(fd, header(13, 0, 0, 1, 1 << 15) + bytes(1 << 15))
''', **FORGED),
    Attack("truncated_frame", "half a frame, then the end", SPEAK + '''
def adam_step(*args, **options):
    say(header(13, 3, 0, 1, 4096) + bytes(100))
    os._exit(0)
''', kinds=("ended",), says="ends the program", says_zh="结束了整个程序"),
    Attack("half_a_frame_and_silence", "half a frame, then nothing for ever", SPEAK + '''
def adam_step(*args, **options):
    say(header(13, 3, 0, 1, 4096) + bytes(100))
    time.sleep(600)
''', on="quick", kinds=("too_slow",), says="not finished after 0.5 s", says_zh="0.5 秒内没有算完"),
    Attack("closes_its_end", "close every descriptor and go on", SPEAK + '''
def adam_step(*args, **options):
    for fd in list(open_fds()):
        os.close(fd)
    time.sleep(600)
''', on="roomy", kinds=("forged", "too_slow")),
    Attack("nested_json", "a frame whose JSON is 30,000 brackets deep", SPEAK + '''
def adam_step(*args, **options):
    text = b"[" * 30000
    say(header(14, 0, len(text), 1, len(text)) + text)
    return wrong(*args)
''', **FORGED),
    Attack("npy_that_evaluates",
           "a .npy header with an expression in it, and one of an array of 2^62 elements",
           SPEAK + '''
def adam_step(*args, **options):
    frame = sys._getframe()
    while "request" not in frame.f_locals:
        frame = frame.f_back
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (__import__('os').system('true'),), }"
    npy = b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(text)) + text
    body = struct.pack("<H", 1) + b"m" + struct.pack("<Q", len(npy)) + npy
    say(header(13, 1, 0, frame.f_locals["request"].request, len(body)) + body)
    return wrong(*args)
''', **FORGED),
    Attack("other_parts",
           "the right number of the question, and arrays with other names, or fewer, or more", '''
import sandbox.serve
def lie(results):
    extra = {"score": np.array(100.0), "passed": np.array(True), "../m": np.zeros(2)}
    return extra if len(results) > 2 else {}
sandbox.serve.plain = lie
''', kinds=("forged",), says="does not have the parts", says_zh="与测试所要的不符"),
    Attack("two_thousand_arrays", "an answer of 2,000 arrays, with names of 1,000 letters", '''
import sandbox.serve
sandbox.serve.plain = lambda results: {"x" * 1000 + str(n): np.zeros(1) for n in range(2000)}
''', kinds=("exception", "forged", "memory", "ended")),
    Attack("hundred_megabytes", "an answer of 100 MB", '''
def adam_step(*args, **options):
    big = np.zeros(100 << 17)
    return big, big, big
''', kinds=("exception",), says="bytes", says_zh="bytes"),
    Attack("answers_ahead", "right at first, then an answer to the next question before that is asked", '''
from sandbox import frames
adam_step = right
read, last = frames.read_frame, []
def ahead(fd):
    if last:
        time.sleep(0.05)
        new = {name: np.zeros(3) for name in ("theta", "m", "v")}
        say(frames.encode(frames.Frame(frames.ARRAYS, last[0] + 1, new)))
    request = read(fd)
    last[:] = [request.request] if request else []
    return request
frames.read_frame = ahead
def say(data):
    for fd in range(3, 200):
        try:
            os.write(fd, data)
        except OSError:
            pass
''', **FORGED),
    Attack("never_reads", "let the questions pile up unread while the file is loaded", '''
import sandbox.frames
sandbox.frames.read_frame = lambda fd: time.sleep(600)
''', on="quick", kinds=("too_slow", "ended", "forged")),
)

"""Attacks on whoever reads the report: a terminal, a browser, a JSON file."""

from tests.classroom.attacks.attack import Attack, rows

EVIL = r'''
EVIL = ("\x1b[2J\x1b]0;owned\x07\x1b[31mred\x9b2J \u202egnp.exe\u2066 \0 \ud800\udfff\udcff "
        "<script>alert(1)</script><img src=x onerror=alert(1)> [a](javascript:alert(1)) ![b](http://x/y) "
        "=cmd|' /C calc'!A0 {{7*7}} ${7*7} \\ | \r overwritten \b\b\b\x7f\u2028 end")
'''
READ = {"kinds": ("exception",)}

GROUP = rows(
    "The report's readers",
    Attack("escapes_in_prints",
           "terminal codes, NUL, lone surrogates, HTML and Markdown in what is printed",
           EVIL + r'''
sys.stdout.reconfigure(errors="surrogatepass")
print(EVIL)
os.write(1, b"\xff\xfe\x00\x1b[2J\xc3(")
''', kinds=("wrong",)),
    Attack("escapes_in_messages", "the same in an exception's message", EVIL + '''
def adam_step(*args, **options):
    raise ValueError(EVIL)
''', says="ValueError", says_zh="ValueError", **READ),
    Attack("escapes_in_names", "the same in the name of an exception, and as its own class", EVIL + '''
def adam_step(*args, **options):
    kind = type("E", (Exception,), {})
    kind.__name__ = kind.__qualname__ = EVIL.replace("\\0", "")
    raise kind("x")
''', **READ),
    Attack("escapes_in_a_missing_name", "the same as the name of something that is missing", EVIL + '''
class Odd(AttributeError):
    pass
def __getattr__(name):
    error = AttributeError(EVIL)
    error.obj, error.name = sys.modules.get("adam"), EVIL
    raise error
del adam_step
''', kinds=("missing", "exception")),
    Attack("escapes_in_arrays_names", "the same as names of arrays in an answer", EVIL + '''
import sandbox.serve
sandbox.serve.plain = lambda results: {EVIL.encode("utf-8", "replace").decode()[:150]: np.zeros(2)}
''', kinds=("forged",), says="does not have the parts", says_zh="与测试所要的不符"),
    Attack("syntax_error_of_its_own", "raise a SyntaxError with a made-up file, line and text", EVIL + '''
def adam_step(*args, **options):
    raise SyntaxError(EVIL, ("/etc/passwd", 10**12, 5, EVIL))
''', kinds=("exception", "syntax")),
    Attack("ten_megabyte_message", "an exception with a message of 10 MB", '''
def adam_step(*args, **options):
    raise ValueError("no " * 3_500_000)
''', says="ValueError: no no", says_zh="ValueError: no no", **READ),
    Attack("exception_that_raises", "an exception whose text, class and traceback raise", '''
class Evil(Exception):
    def __str__(self): raise Evil
    __repr__ = __str__
    __class__ = property(lambda self: 1 / 0)
    __traceback__ = property(lambda self: 1 / 0)
def adam_step(*args, **options):
    raise Evil
''', **READ),
    Attack("pretends_to_be_another", "exceptions that claim to be a NotImplementedError or a MemoryError", '''
class Both(MemoryError, NotImplementedError):
    pass
def adam_step(*args, **options):
    raise Both("pretended")
''', kinds=("not_written", "memory")),
    Attack("escapes_in_names_of_tests", "the same, and markup, as names of tests", EVIL + r'''
import sandbox.testing
odd = ["test_" + EVIL, "test_\ud800", "test_\x1b[2J\x07", "test_a", "test_<script>", "test_" + "w" * 9000]
sandbox.testing.names = lambda student: " ".join(odd)
def test_a(adam_step):
    assert False
''', on="tests", says="test_a does not count", says_zh="test_a 不计入", seconds=90.0),
    Attack("group_of_exceptions", "an exception group, notes and a chain of a thousand causes", EVIL + '''
def adam_step(*args, **options):
    error = ValueError("first")
    for n in range(1000):
        new = ValueError(str(n))
        new.__cause__ = error
        error = new
    group = ExceptionGroup(EVIL, [error] * 500)
    group.add_note(EVIL * 100)
    raise group
''', **READ),
)

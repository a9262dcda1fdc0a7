"""Attacks on a kernel assignment, whose kernels run in Triton's interpreter inside the worker."""

from tests.classroom.attacks.attack import Attack, rows

STUB = '''
import triton
import triton.language as tl

@triton.jit
def cross_entropy_forward(X, Y, LOSS, M, S, stride, V, ignore_index, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    tl.store(LOSS + row, 0.0)

@triton.jit
def cross_entropy_backward(X, Y, M, S, DX, stride, V, ignore_index, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    tl.store(DX + row * V, 0.0)
'''
ON = {"on": "triton", "seconds": 90.0}

GROUP = rows(
    "Triton kernels",
    Attack("patches_the_interpreter", "replace Triton's interpreter, its store and the launcher", STUB + '''
import kernels.testing
from triton.runtime import interpreter
for name in dir(interpreter):
    thing = getattr(interpreter, name)
    if isinstance(thing, type) and name.endswith("Builder"):
        for method in list(vars(thing)):
            if "store" in method:
                setattr(thing, method, lambda *a, **k: None)
kernels.testing.run_triton = lambda *a, **k: {"passed": True, "score": 100}
sys.modules["kernels.testing"].assert_close = lambda *a, **k: None
''', **ON),
    Attack("kernel_reads_elsewhere", "a kernel that reads and writes addresses of its own", STUB.replace(
        "tl.store(LOSS + row, 0.0)", "tl.store(LOSS + row + (1 << 44), tl.load(X - (1 << 44)))"),
        **{**ON, "kinds": ("crashed", "exception", "wrong")}),
    Attack("kernel_is_no_kernel",
           "plain functions and classes in place of kernels, that write what they like", '''
class Kernel:
    def __getitem__(self, grid): return self
    def __call__(self, *args, **options): return 0
    fn = arg_names = params = property(lambda self: self)
    def __iter__(self): return iter(())
    def __getattr__(self, name): return self
cross_entropy_forward = cross_entropy_backward = Kernel()
''', **{**ON, "kinds": ("wrong", "exception", "missing")}),
    Attack("kernel_never_ends", "a kernel with a loop that never ends", STUB.replace(
        "    tl.store(LOSS + row, 0.0)", "    n = row\n    while n >= 0:\n        n = n + 1\n"
        "    tl.store(LOSS + row, 0.0)"), **{**ON, "on": "triton_quick", "kinds": ("too_slow", "exception")}),
    Attack("does_it_in_numpy", "replace the launcher by NumPy code that computes the answer", '''
import kernels.testing
def instead(kernel, n, x, y, *rest, **options):
    if len(rest) == 6:
        loss, m, s, stride, V, ignore = rest
        m[:] = x.max(axis=1)
        s[:] = np.exp(np.float64(x) - m[:, None]).sum(axis=1)
        loss[:] = np.where(y == ignore, 0, np.log(s) + m - x[np.arange(n), np.where(y == ignore, 0, y)])
kernels.testing.run_triton = instead
cross_entropy_forward = cross_entropy_backward = None
''', score=(0, 70), **{**ON, "kinds": ("passed",)},
           note="right numbers, by NumPy: how a worker computes cannot be seen from outside"),
)

"""Answers that are not the right numbers, in forms that a careless comparison takes for them."""

from tests.classroom.attacks.attack import Attack, rows


def answer(name: str, tries: str, change: str, *, kinds: tuple[str, ...] = ("wrong",),
           score: float | tuple[float, float] = 0.0, note: str = "") -> Attack:
    """The right answer, with each array x changed."""
    return Attack(name, tries, f'''
def adam_step(theta, g, m, v, t, **options):
    return tuple({change} for x in right(theta, g, m, v, t, **options))
''', kinds=kinds, score=score, note=note)


FAIR = {"kinds": ("passed",), "score": 50.0, "note": "these are the right numbers"}

GROUP = rows(
    "Numbers",
    answer("nan_everywhere", "nan in place of every number", "x * np.nan"),
    answer("infinities", "infinities of the right sign", "np.copysign(np.inf, x)"),
    answer("one_nan", "nan where the first number should be",
           "np.where(np.arange(x.size).reshape(x.shape) == 0, np.nan, x)"),
    answer("mean_of_shape_1", "one number of shape (1,), which broadcasts", "np.array([x.mean()])",
           kinds=("wrong", "exception")),
    answer("scalar", "one number without a shape", "x.mean()", kinds=("wrong", "exception")),
    answer("empty", "no numbers at all: nothing differs", "x[:0]", kinds=("wrong", "exception")),
    answer("an_axis_more", "an axis more", "x[None]"),
    answer("an_axis_more_each_time", "32 axes, and 60", "x.reshape(x.shape + (1,) * (31 - x.ndim))"),
    answer("strides_of_zero", "one number seen through strides of zero",
           "np.broadcast_to(x.flat[0], x.shape)"),
    answer("imaginary_part", "the right real part and an imaginary part of 1", "x + 1j"),
    answer("bool", "truth values", "x.astype(bool)"),
    answer("integers", "whole numbers", "np.rint(x).astype(int)"),
    answer("half_precision", "half precision", "x.astype(np.float16)"),
    answer("negated_zero", "the negative", "-x"),
    answer("masked", "everything masked, so that nothing is compared", "np.ma.masked_all(x.shape)"),
    answer("huge_shape", "an array of 2^40 numbers that takes no memory",
           "np.broadcast_to(x.flat[0], (1 << 40,))",
           kinds=("memory", "exception", "wrong")),
    answer("no_elements_huge_shape", "shape (0, 2^61)", "np.zeros((0, 1 << 30))", kinds=("wrong", "forged",
                                                                                         "exception")),
    answer("changing_memory_map", "a memory-mapped file that is emptied after it is returned",
           "(np.ones(x.shape).tofile('map'), np.memmap('map', float, 'r+', shape=x.shape), "
           "open('map', 'r+').truncate(8))[1]", kinds=("wrong", "crashed", "exception", "memory")),
    answer("nested_lists", "lists within lists, 100 deep", "eval('[' * 60 + '0' + ']' * 60)",
           kinds=("exception", "wrong", "forged")),
    answer("ragged", "lists of different lengths", "[[1.0], [1.0, 2.0]]", kinds=("exception",)),
    answer("generators", "generators", "(v for v in x.flat)", kinds=("exception",)),
    answer("complex_without_imaginary_part", "complex numbers whose imaginary part is 0", "x + 0j",
           **{**FAIR, "kinds": ("passed", "wrong"), "score": (0.0, 50.0)}),
    answer("other_byte_order", "the other byte order", "x.astype(x.dtype.newbyteorder())", **FAIR),
    answer("negative_strides", "a view with negative strides",
           "np.ascontiguousarray(x[..., ::-1])[..., ::-1]", **FAIR),
    answer("fortran_order", "Fortran order", "np.asfortranarray(x)", **FAIR),
    answer("long_double", "long double", "x.astype(np.longdouble)", **FAIR),
    answer("a_memory_map", "a memory-mapped file", "(x.tofile(f'map{id(x)}'), "
           "np.memmap(f'map{id(x)}', float, 'r', shape=x.shape))[1]", kinds=("passed", "exception"),
           score=(0, 50), note="these are the right numbers, where files may be written"),
)

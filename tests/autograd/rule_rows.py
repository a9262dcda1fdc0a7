"""Every differentiable function, one line each, in files that mirror minillm/autograd/rules."""

from rows_arithmetic import ARITHMETIC
from rows_indexing import INDEXING
from rows_products import PRODUCTS
from rows_reductions import REDUCTIONS
from rows_shapes import SHAPES

ROWS = [*ARITHMETIC, *PRODUCTS, *REDUCTIONS, *SHAPES, *INDEXING]

"""Embedding lookup: rows of a table; its gradient is filled by a sorted scatter, not by a product."""

from __future__ import annotations

from typing import Any

from minillm.autograd.devices import as_array, is_foreign
from minillm.autograd.tensor import Tensor, unwrap
from minillm.formulas.checks import check_indices, check_integers


def embedding(ids: Any, weight: Any) -> Tensor:
    """Rows of `weight`: y_i = weight[ids_i], the product of a one-hot matrix with `weight`.

    The gradient is a dense (V, D) array of zeros into which the rows of g are added by id (sorted
    and summed run by run), in place of a product with an N x V one-hot matrix.

    Args:
        ids: (...), integers in [0, V). On a GPU the range is not checked, which would wait for it; ids on
            the CPU are, and serve a weight on either.
        weight: (V, D).

    Returns:
        (..., D).

    Raises:
        ValueError: an id is outside [0, V).
        TypeError: ids are not integers.

    Source: article section 5.1 (the Embedding layer).
    """
    ids = as_array(unwrap(ids))
    if is_foreign(ids):
        check_integers("ids", ids)
    else:
        check_indices("ids", ids, len(weight))
    return weight[ids] if isinstance(weight, Tensor) else Tensor(weight)[ids]

"""An equation of the ledger from what a user types: its name, a short one, or a section of the article."""

from __future__ import annotations

from difflib import get_close_matches

from minillm.errors import UserError
from minillm.formulas import LEDGER

ALIASES = {"adam": "adam_step", "lstm": "lstm_cell", "sgd": "gradient_descent_step", "3.3": "dropout",
           "4.1": "softmax_cross_entropy", "5.1": "lstm_cell"}


def equation_called(name: str) -> str:
    """The ledger's name of an equation; of a section, that of its first.

    Raises:
        UserError: nothing is called that.
    """
    key = name.lower().replace("-", "_")
    key = ALIASES.get(key, key)
    if key in LEDGER:
        return key
    of_section = [row.name for row in LEDGER.values() if row.section == name]
    if of_section:
        return of_section[0]
    near = get_close_matches(key, [*LEDGER, *ALIASES], n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "`minillm formulas` lists them"
    raise UserError(f"no equation is named {name!r}: {hint}")

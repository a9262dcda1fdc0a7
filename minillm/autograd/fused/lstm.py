"""An LSTM over a whole sequence as one op."""

from minillm.formulas import lstm

__all__ = ["lstm"]

"""The LSTM (article 5.1): one cell, and the cell over a sequence."""

from typing import Any

import numpy as np


# GIVE minillm.formulas.lstm:sigmoid


# TAKE minillm.formulas.lstm:lstm_cell


# TAKE minillm.formulas.lstm:lstm

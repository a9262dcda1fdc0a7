"""Gradient descent (article 4.2), with momentum and with clipping."""

from collections.abc import Sequence
from typing import Any

import numpy as np


# TAKE minillm.formulas.optimizers:gradient_descent_step


# TAKE minillm.formulas.optimizers:momentum_step


# TAKE minillm.formulas.optimizers:global_norm


# TAKE minillm.formulas.optimizers:clip_by_norm

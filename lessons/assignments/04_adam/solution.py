"""One step of Adam (article 4.3)."""

from typing import Any

import numpy as np


# TAKE minillm.formulas.optimizers:adam_step

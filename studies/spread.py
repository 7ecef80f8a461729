"""How pages write means over seeds, and compare them."""

from collections.abc import Sequence

import numpy as np


def with_error(values: Sequence[float], digits: int = 2) -> str:
    """Mean with its sign, and one standard error where there are several values; "-" of none."""
    if not values:
        return "-"
    # Adding 0 turns -0.00 into 0.00.
    mean = f"{round(float(np.mean(values)), digits) + 0:+.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.{digits}f}"


def percent_below(values: Sequence[float], others: Sequence[float]) -> float:
    """How far the mean of some values is below that of others, in per cent."""
    return 100 * (1 - float(np.mean(values)) / float(np.mean(others)))

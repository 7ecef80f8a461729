"""Types that many modules name."""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
#: Told what is being done now, for a progress display.
Say = Callable[[str], None]

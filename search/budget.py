"""A budget of time: its text, and what is left of it."""

import re
import time
from dataclasses import dataclass, field

from ..model.errors import InputError, shown

#: Seconds of each unit that a budget may be written in.
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
#: Longest budget, hours: a slip of the finger is no plan.
MOST_HOURS = 1000


def seconds_of(text: str) -> float:
    """Seconds of a budget such as ``90s``, ``60m`` or ``1.5h``. Raises :class:`InputError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if match is None:
        raise InputError(f"budget {shown(text)}: write a number and s, m or h, as in 60m")
    seconds = float(match[1]) * UNITS[match[2]]
    if not 0 < seconds <= MOST_HOURS * UNITS["h"]:
        raise InputError(f"budget {shown(text)}: not above 0 and at most {MOST_HOURS}h")
    return seconds


@dataclass
class Budget:
    """Seconds to be spent from now on; None: as many as it takes.

    spent : seconds that were spent before, as a resumed run has
    """

    seconds: float | None = None
    spent: float = 0.0
    _begin: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, text: str | None) -> "Budget":
        """The budget of a text (:func:`seconds_of`), or none."""
        return cls(None if text is None else seconds_of(text))

    @property
    def used(self) -> float:
        """Seconds spent so far."""
        return self.spent + time.monotonic() - self._begin

    def left(self) -> float:
        """Seconds left; infinite without a budget."""
        return float("inf") if self.seconds is None else self.seconds - self.used

    def allows(self, seconds: float) -> bool:
        """Whether work of so many seconds still fits."""
        return seconds <= self.left()

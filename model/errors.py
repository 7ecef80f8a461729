"""The one exception that a user's bad input or a missing tool raises."""

import contextlib
import operator
import reprlib
from collections.abc import Sequence
from typing import Any

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60
#: What to do about a damaged file, for who knows nothing more of it.
COPY = "take a copy, or make it again"


class InputError(ValueError):
    """Bad input or environment. Its text is one line: what was given, what is wrong, what to do.

    The ``genogate`` command prints it and exits with code 2; a library user may catch it as a
    ``ValueError``.

    remedy : what to do, where it is kept apart from the message, for whoever knows better than the
        place where the error was found; the text ends with it
    """

    def __init__(self, message: object = "", remedy: object = None) -> None:
        super().__init__(message)
        self.remedy = remedy

    @property
    def message(self) -> str:
        """The text without the remedy."""
        return super().__str__()

    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message}; {self.remedy}"


class Unreachable(InputError):
    """A file that the system does not let us read or write: no right, no room, a faulty disk. What
    is there may be whole."""


def printable(text: object) -> str:
    """`text` with everything escaped that a terminal could take for a command, or could not print:
    control characters, directions of writing, and bytes of names that are no UTF-8."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in str(text)
    )


def one_line(text: object, most: int = 400) -> str:
    """`text` on one line as :func:`printable`, cut in the middle to `most` characters."""
    line = printable(" ".join(str(text).split()))
    half = (most - 5) // 2
    return line if len(line) <= most else f"{line[:half]} ... {line[-half:]}"


def shown(value: Any) -> str:
    """`value` as an error line may quote it: its repr, cut to some 60 characters on one line."""
    try:
        # Cuts inside long numbers, strings and nested lists, where str() could fail or never end.
        text = _REPR.repr(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def integer_within(name: str, value: Any, low: int, high: int) -> None:
    """Raises :class:`InputError` unless `value` is an integer within `low` to `high`; Python's own,
    since it may be kept as it is, and JSON knows no other."""
    # bool is an int to Python, and True where a number belongs is a mistake.
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name}: {shown(value)} is not an integer")
    if not low <= value <= high:
        raise InputError(f"{name}: {shown(value)} is not within {low} to {high}")


def index_within(name: str, value: Any, low: int, high: int) -> int:
    """`value`, an integer of any kind such as NumPy's, as Python's. Raises as
    :func:`integer_within`."""
    number = value
    if not isinstance(value, bool):
        with contextlib.suppress(TypeError):
            number = operator.index(value)
    integer_within(name, number, low, high)
    return int(number)


def each_once(name: str, values: Sequence[Any]) -> None:
    """Raises :class:`InputError` that names the first value that is in `values` twice."""
    for k, value in enumerate(values):
        if value in values[:k]:
            raise InputError(f"{name}: {shown(value)} is given twice; give each once")


def number_within(name: str, value: Any, low: float, high: float) -> None:
    """Raises :class:`InputError` unless `value` is a number within `low` to `high`."""
    try:
        inside = low <= value <= high
    except TypeError:
        inside = False
    if not inside:
        raise InputError(f"{name}: {shown(value)} is not within {low} to {high}")

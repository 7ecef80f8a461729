"""The one exception that a user's bad input or a missing tool raises."""

import reprlib
from typing import Any


class InputError(ValueError):
    """Bad input or environment. Its text is one line: what was given, what is wrong, what to do.

    The ``genogate`` command prints it and exits with code 2; a library user may catch it as a
    ``ValueError``.
    """


def shown(value: Any) -> str:
    """`value` as an error line may quote it: its repr, cut to some 60 characters on one line."""
    try:
        # Cuts inside long numbers, strings and nested lists, where str() could fail or never end.
        text = reprlib.repr(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."

"""The one exception that a user's bad input or a missing tool raises."""


class InputError(ValueError):
    """Bad input or environment. Its text is one line: what was given, what is wrong, what to do.

    The ``genogate`` command prints it and exits with code 2; a library user may catch it as a
    ``ValueError``.
    """

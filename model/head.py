"""What a network answers, and when: the end of ``GRU+ [Dense]*``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import InputError, shown

#: When a network answers: once a sequence, after its last step, or after every step.
AT = ("last", "every")
#: What it answers: the index of the greatest logit, the logits themselves (sums of the last linear
#: operator), or codes with a scale, as the operators before it give them.
OUTPUTS = ("class", "logits", "codes")
#: Functions of real values behind a dense layer; of the head only where it answers codes.
ACTIVATIONS = ("none", "relu", "sigmoid", "tanh")


@dataclass(frozen=True)
class Head:
    """The head of a network.

    Parameters
    ----------
    at : "last" or "every"
        Whether it answers after the last step of a sequence or after every step.
    output : "class", "logits" or "codes"
    activation : "none", "relu", "sigmoid" or "tanh"
        Of codes; classes and logits have none.

    Raises :class:`InputError` for anything else.
    """

    at: str = "last"
    output: str = "class"
    activation: str = "none"

    def __post_init__(self) -> None:
        for name, values in (("at", AT), ("output", OUTPUTS), ("activation", ACTIVATIONS)):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in values:
                raise InputError(f"head, {name}: {shown(value)} is not one of {values}")
        if self.activation != "none" and self.output != "codes":
            raise InputError(
                f"head: {self.activation} needs the output 'codes', not {self.output!r}"
            )

    @property
    def every(self) -> bool:
        """Whether it answers after every step."""
        return self.at == "every"

    @property
    def plain(self) -> bool:
        """Whether it is the usual one: a class after the last step."""
        return self == Head()

    def to_json(self) -> dict[str, str]:
        """A JSON-able record, read by :meth:`of`."""
        return {"at": self.at, "output": self.output, "activation": self.activation}

    @classmethod
    def of(cls, record: Any) -> Head:
        """The head of a record; the usual one of None. Raises :class:`InputError`."""
        if record is None:
            return cls()
        if not isinstance(record, Mapping) or set(record) - set(cls.__dataclass_fields__):
            raise InputError(f"head: {shown(record)} is not a record of at, output and activation")
        return cls(**record)

    def __str__(self) -> str:
        what = self.output if self.activation == "none" else f"{self.activation} {self.output}"
        return f"{what} at {'every' if self.every else 'the last'} step"

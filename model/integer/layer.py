"""One GRU layer: which operator feeds which, and the state that a sequence starts with."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..genome import GENES
from .codes import check_array, code_range
from .operators import (
    Complement,
    Dense,
    Operator,
    PiecewiseLinear,
    Product,
    Sum,
    Table,
)

#: The operator classes allowed under each gene name.
CLASSES: dict[str, tuple[type, ...]] = {
    name: {
        "w": (Dense,),
        "s": (Sum,),
        "c": (Complement,),
        "p": (Product,),
        "a": (Table, PiecewiseLinear),
    }[name[0]]
    for name in GENES
}
#: Where each operator's operands come from: operator names, or "x" (input) and "h" (old state).
OPERANDS: dict[str, tuple[str, ...]] = {
    "w_ir": ("x",),
    "w_iz": ("x",),
    "w_in": ("x",),
    "w_hr": ("h",),
    "w_hz": ("h",),
    "w_hn": ("h",),
    "s_r": ("w_ir", "w_hr"),
    "s_z": ("w_iz", "w_hz"),
    "a_r": ("s_r",),
    "a_z": ("s_z",),
    "p_rn": ("a_r", "w_hn"),
    "s_n": ("w_in", "p_rn"),
    "a_n": ("s_n",),
    "c_z": ("a_z",),
    "p_zn": ("c_z", "a_n"),
    "p_zh": ("a_z", "h"),
    "s_h": ("p_zn", "p_zh"),
}
#: An order in which the operators of a step can be evaluated.
SCHEDULE = tuple(OPERANDS)


@dataclass(frozen=True)
class Layer:
    """The 17 operators of one GRU layer, by gene name.

    ``in_bits`` is the width of the input codes; the state has the width and zero point of ``s_h``.

    Parameters
    ----------
    ops : mapping of the 17 operators, in the order of :data:`SCHEDULE`
    initial_state : int8 array [hidden] of codes, or None
        The state that a sequence starts with; ``state_zero_point`` (real zero) where none is given.
    """

    ops: Mapping[str, Operator]
    initial_state: np.ndarray | None = None

    def __post_init__(self) -> None:
        if tuple(self.ops) != SCHEDULE:
            raise InputError(f"layer: operators must be {' '.join(SCHEDULE)}")
        for name, op in self.ops.items():
            if not isinstance(op, CLASSES[name]):
                raise InputError(f"{name}: a {op.kind} operator cannot stand here")
        hidden, inputs = self.hidden_size, self.input_size
        for name in GENES[:6]:
            shape = self.dense(name).weight.shape
            if shape != (wanted := (hidden, inputs if name[2] == "i" else hidden)):
                raise InputError(f"{name}: weight shape {shape}, {wanted} is needed")
        for name, sources in OPERANDS.items():
            op = self.ops[name]
            widths = [op.in_bits] if isinstance(op, Dense) else [op.a_bits]
            if isinstance(op, Sum | Product):
                widths.append(op.b_bits)
            for source, width in zip(sources, widths, strict=True):
                actual = self.in_bits if source == "x" else self.bits(source)
                if width != actual:
                    raise InputError(f"{name}: operand {source} has {actual} bits, not {width}")
        low, high = code_range(self.bits("h"))
        if not low <= self.state_zero_point <= high:
            raise InputError(
                f"s_h: zero point {self.state_zero_point} is no code; the initial state is zero"
            )
        if self.initial_state is not None:
            check_array("initial_state", self.initial_state, 1, low, high)
            if len(self.initial_state) != hidden:
                raise InputError(
                    f"initial_state: {len(self.initial_state)} codes, the layer has {hidden} units"
                )

    def dense(self, name: str) -> Dense:
        """Operator `name`, known to be dense."""
        op = self.ops[name]
        assert isinstance(op, Dense)
        return op

    def bits(self, name: str) -> int:
        """Width of the output code of operator `name` (``h``: of the state)."""
        return self.ops["s_h" if name == "h" else name].out_bits

    @property
    def input_size(self) -> int:
        return self.dense("w_ir").weight.shape[1]

    @property
    def hidden_size(self) -> int:
        return self.dense("w_hr").weight.shape[0]

    @property
    def in_bits(self) -> int:
        return self.dense("w_ir").in_bits

    @property
    def first_state(self) -> np.ndarray:
        """Codes int64 [hidden] of the state that a sequence starts with."""
        if self.initial_state is None:
            return np.full(self.hidden_size, self.state_zero_point, np.int64)
        return self.initial_state.astype(np.int64)

    @property
    def state_zero_point(self) -> int:
        op = self.ops["s_h"]
        assert isinstance(op, Sum)
        return op.zero_point

"""Linear layers and first states in a state dict: what shapes and names say of their places."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from ..errors import InputError
from .chain import real

#: Names of tensors that sequences start with.
_STATE = re.compile(
    r"(^|\.|_)(h_?0|h_?init|init(ial)?_?h(idden)?|init(ial)?_?(hidden_?)?state|hidden_?0)s?$", re.I
)


def first_states(
    state: Mapping[str, np.ndarray], rest: Sequence[str], tensors: Mapping[str, np.ndarray]
) -> tuple[list[np.ndarray | None], set[str]]:
    """Of every GRU layer the state [H] that sequences start with, None where the state dict has
    none; and the tensors that hold them.

    Such a tensor is called h0, initial_state or alike, and is [layers, (1,) H], or [H] of one.
    """
    sizes: list[int] = []
    while f"weight_hh_l{len(sizes)}" in tensors:
        sizes.append(tensors[f"weight_hh_l{len(sizes)}"].shape[1])
    names = [name for name in rest if _STATE.search(name)]
    if not names:
        return [None] * len(sizes), set()
    array = np.squeeze(real(state[names[0]], names[0]))
    rows = array.reshape(1, -1) if array.ndim < 2 else array
    if len(names) > 1 or rows.ndim != 2 or [len(row) for row in rows] != sizes:
        raise InputError(
            f"tensor {names[0]:.60} {state[names[0]].shape}: a first state for each of the GRU's "
            f"layers, of {', '.join(map(str, sizes))} units, is needed in one tensor"
        )
    return list(rows), set(names)


def assigned(
    state: Mapping[str, np.ndarray],
    linear: Sequence[str],
    sizes: tuple[int, int, int],
    front: int,
    back: int,
) -> tuple[list[str], list[str]]:
    """Linear layers in front of the GRU and behind it, each from input to output.

    linear : prefixes of their tensors; sizes : inputs and units of the GRU, inputs of the
    classifier; front, back : how many there are

    Raises :class:`InputError` where shapes allow none, or several orders that names do not decide.
    """
    if len(linear) != front + back:
        raise InputError(
            f"{len(linear)} linear layers beside the GRU and its classifier, functions of {front} "
            f"in front and of {back} behind are given"
        )
    shape = {name: state[f"{name}weight"].shape for name in linear}

    def series(names: tuple[str, ...], end: int, count: int) -> Iterator[tuple[str, ...]]:
        """Series of `count` of `names`, the last of which gives `end` values."""
        if not count:
            yield ()
            return
        for name in names:
            if shape[name][0] == end:
                others = tuple(other for other in names if other != name)
                for before in series(others, shape[name][1], count - 1):
                    yield (*before, name)

    def orders() -> Iterator[tuple[list[str], list[str]]]:
        for behind in series(tuple(linear), sizes[2], back):
            first = shape[behind[0]][1] if behind else sizes[2]
            if first == sizes[1]:
                others = tuple(name for name in linear if name not in behind)
                for before in series(others, sizes[0], front):
                    yield list(before), list(behind)

    possible = list(islice(orders(), 100))
    if not possible:
        shapes = ", ".join(f"{name.rstrip('.'):.40} {shape[name]}" for name in linear[:6])
        raise InputError(
            f"linear layers {shapes}: {front} in front of a GRU of {sizes[0]} inputs and {back} "
            f"between its {sizes[1]} units and the classifier's {sizes[2]} do not fit"
        )
    if len(possible) > 1:
        # Numbers in names count from input to output (fc1, fc2).
        possible = [order for order in possible if all(map(_counting, order))]
    if len(possible) != 1:
        raise InputError(
            f"{len(linear)} linear layers whose shapes allow several orders: number their names "
            "from input to output (fc1, fc2), or export the model as ONNX"
        )
    return possible[0]


def _counting(names: Sequence[str]) -> bool:
    numbers = [[int(digits[-9:]) for digits in re.findall(r"\d+", name)] for name in names]
    return numbers == sorted(numbers) and len({re.sub(r"\d+", "", name) for name in names}) <= 1

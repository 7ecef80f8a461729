"""What a search ends with: the points of its front that have a name, and a short table of them."""

from collections.abc import Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]
#: Points of accuracy below INT8 within which the least is named.
DROPS = (0.5, 1.0)
#: What is least, and the words for it in a name.
LEAST = {
    "size": "smallest",
    "cells": "fewest-cells",
    "um2": "least-area",
    "energy": "least-energy",
    "lut": "fewest-luts",
    "ebr": "fewest-block-rams",
}
#: Costs that rows of the table at the end have, where they are known.
COSTS = ("cells", "memory", "um2", "energy", "lut", "ff", "ebr", "dsp", "fmax_mhz")
#: Files that a search writes anew with every front.
PATTERNS = ("front-*", "within-*")


def drop(result: Result, int8: Result) -> float:
    """Points of accuracy lost against INT8, on what the search judges by."""
    return 100 * float(int8["accuracy"] - result["accuracy"])


def within(results: Sequence[Result], int8: Result) -> dict[str, int]:
    """Index of the result with the least of each of :data:`LEAST` within each of :data:`DROPS`, by
    name (``within-0.5-smallest``); of equal ones the most accurate. What results lack has no
    name."""
    names = {}
    for most in DROPS:
        # 0.5 points of 200 sequences are one sequence: the limit itself counts.
        able = [k for k, r in enumerate(results) if drop(r, int8) <= most + 1e-9]
        for cost, word in LEAST.items():
            measured = [k for k in able if cost in results[k]]
            if measured:
                names[f"within-{most}-{word}"] = min(
                    measured, key=lambda k: (results[k][cost], -results[k]["accuracy"])
                )
    return names


def table(
    front: Sequence[Result], named: Mapping[str, Result], int8: Result, reference_bits: int
) -> list[dict[str, Any]]:
    """Rows for whoever reads the end of a search: INT8, what is within each limit, the knee.

    front : unused points are left out; named : results by name of the genome file
    reference_bits : size of the network that ``share`` is relative to
    """
    order = ["knee", *within(front, int8)]
    rows = [("int8", int8)]
    rows += [(name, named[name]) for name in [*order[1:], order[0]] if name in named]
    return [
        {
            "name": name,
            "drop": round(drop(result, int8), 4),
            "size": result["size"],
            "share": round(result["size"] / reference_bits, 4),
            **{cost: result[cost] for cost in COSTS if cost in result},
            **{n: result[n] for n in ("test_accuracy",) if n in result},
        }
        for name, result in rows
    ]

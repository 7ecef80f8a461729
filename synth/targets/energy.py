"""Energy of a cycle on sky130 without a netlist: in proportion to the area.

Area tells it better than any line over logic, constants and state does for so few networks. The
factor is fitted to networks whose netlists were simulated over test sequences and measured by
OpenSTA (``energy.json``, remade by :mod:`.energy_fit`): typical corner, no wires, no clock tree, no
clock gates, state as flip-flops.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...hdl.gru.design import Design

FILE = Path(__file__).with_name("energy.json")
Row = dict[str, Any]


@cache
def rows() -> tuple[Row, ...]:
    """Networks that were measured: task, genome, knobs, ``pj_per_cycle``, and the estimated
    ``um2``."""
    return tuple(json.loads(FILE.read_text())["rows"])


def _slope(measured: Sequence[Row]) -> float:
    """pJ a um^2; every network counts alike."""
    return float(np.exp(np.mean([np.log(row["pj_per_cycle"] / row["um2"]) for row in measured])))


@cache
def _fitted() -> float:
    return _slope(rows())


def pj_per_cycle(um2: float) -> float:
    """Energy of a cycle, pJ, of a network of that area, memories included."""
    return _fitted() * um2


@cache
def error() -> dict[str, Any]:
    """What the line is off by, each network told by all others; as
    :func:`.prices.errors`."""
    from scipy.stats import spearmanr

    measured = rows()
    told = [
        _slope([*measured[:k], *measured[k + 1 :]]) * row["um2"] for k, row in enumerate(measured)
    ]
    exact = [row["pj_per_cycle"] for row in measured]
    off = [100 * abs(e - m) / m for e, m in zip(told, exact, strict=True)]
    return {
        "median_percent": round(float(np.median(off)), 2),
        "percent_90": round(float(np.quantile(off, 0.9)), 2),
        "worst_percent": round(max(off), 2),
        "genomes": len(measured),
        "rank_correlation": round(float(spearmanr(told, exact).statistic), 3),
        "ranked": len(measured),
        "ranked_network": "all",
    }


def energy_nj(design: Design, um2: float) -> float:
    """Energy of a time step on sky130, nJ, of a network of that area, state as flip-flops, no clock
    gates."""
    return pj_per_cycle(um2) * design.cycles_per_step / 1000


def sky130_figures(
    design: Design, areas: Mapping[str, float], memories: str = "flops"
) -> dict[str, float]:
    """Figures of a network on sky130 from its areas; energy where state is in flip-flops."""
    um2 = sum(areas.values())
    spent = {"energy": energy_nj(design, um2)} if memories == "flops" else {}
    return {"um2": um2, **spent, **areas}


def rounded(target: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Figures as results have them."""
    if target != "sky130":
        return {name: round(value) for name, value in figures.items()}
    return {name: round(v, 4 if name == "energy" else 1) for name, v in figures.items()}

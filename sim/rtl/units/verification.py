"""Units of tables held to the law, and a summary of the outcomes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....hdl.piecewise_linear import PiecewiseLinear
from ....model import integer
from ....synth.unit_verilog import emit_unit
from .bench import Outcome, require_icarus, simulate_units
from .cases import unit_case


def summary(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """JSON-able: units, codes compared, mismatches (the first twenty as text), the simulator."""
    faults = [line for outcome in outcomes.values() for line in outcome.mismatches]
    return {
        "units": len(outcomes),
        "codes": sum(outcome.compared for outcome in outcomes.values()),
        "mismatches": len(faults),
        "first": faults[:20],
        "simulator": require_icarus(),
    }


def verify_verilog(
    sources: Mapping[str, tuple[str, integer.PiecewiseLinear]],
    folder: str | Path | None = None,
    seed: int = 2026,
) -> dict[str, Any]:
    """Simulate emitted fixed units on every code, with stalls; see :func:`summary`.

    sources : module name -> (its Verilog, the unit that it must equal)
    """
    cases = [unit_case(name, text, op, seed) for name, (text, op) in sources.items()]
    return {**summary(simulate_units(cases, folder, seed)), "seed": seed}


def verify_table(
    units: Mapping[str, integer.PiecewiseLinear],
    folder: str | Path | None = None,
    seed: int = 2026,
) -> dict[str, Any]:
    """Emit fixed units (output register) and hold every code of each to golden.activation.

    units : module name -> unit, for example one a scale of a table
    """
    sources = {
        name: (emit_unit(PiecewiseLinear(op, output="register"), name), op)
        for name, op in units.items()
    }
    return verify_verilog(sources, folder, seed)

"""What ``genogate unit`` does: softmax, normalisation and range-reduced functions as Verilog."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .model.errors import InputError
from .model.files import staged, write_json, write_text

if TYPE_CHECKING:
    from .synth.composite_verilog import Composite

Say = Callable[[str], None]
KINDS = ("softmax", "layernorm", "rmsnorm", "reciprocal", "rsqrt")
#: Elements that the Verilog is held to the golden model on.
ELEMENTS = 4000


def make_unit(
    kind: str,
    *,
    scale: int,
    entries: int,
    length: int,
    in_bits: int,
    out_bits: int,
    out_scale: int | None,
) -> Composite:
    """The integers of a unit. Raises :class:`InputError` for anything that does not fit."""
    from .model.tables.composites import layernorm_params, softmax_params
    from .model.tables.reduction import positive_unit

    if kind == "softmax":
        return softmax_params(scale, entries, length, in_bits, out_bits, out_scale)
    given: dict[str, Any] = {} if out_scale is None else {"out_scale": out_scale}
    if kind in ("layernorm", "rmsnorm"):
        return layernorm_params(
            length, scale, entries, in_bits, out_bits, rms=kind == "rmsnorm", **given
        )
    if kind in ("reciprocal", "rsqrt"):
        name: Any = kind
        return positive_unit(name, in_bits, scale, out_bits, entries=entries, **given)
    raise InputError(f"unit {kind!r:.60}: {', '.join(KINDS)} are known")


def write_unit(
    op: Composite, kind: str, given: dict[str, Any], out: str | None, say: Say
) -> tuple[dict[str, Any], Path]:
    """Emit, verify and measure; ``unit.v`` and ``report.json`` in one folder, both or none."""
    import numpy as np

    from .sim.rtl.composites import SEED, segments_of, simulate
    from .synth.area import measure
    from .synth.composite_verilog import component, emit_composite
    from .synth.yosys import find

    suffix = "-".join(str(given[name]) for name in ("length", "scale", "entries"))
    folder = Path(out) if out else Path("build") / "unit" / f"{kind}-{suffix}"
    with staged(folder) as stage:
        say("Emitting Verilog")
        verilog = emit_composite(op)
        write_text(stage / "unit.v", verilog)
        say("Simulating")
        segments = segments_of(op, ELEMENTS, np.random.default_rng(SEED))
        outcome = simulate(op, segments, seed=SEED, verilog=verilog)
        say("Measuring")
        area = measure([component(op)], say)[0]
        report = {
            "genogate": __version__,
            "unit": kind,
            **given,
            "verified": {
                "passed": not outcome.mismatches,
                "elements": outcome.elements,
                "mismatches": outcome.mismatches,
                "seed": SEED,
            },
            "area": {**asdict(area), "yosys": find().version},
        }
        write_json(stage / "report.json", report)
    return report, folder

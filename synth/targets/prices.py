"""Figures of a target without Yosys, for searches: area on sky130, LUTs, flip-flops, block RAMs and
DSP blocks of an FPGA.

Logic is told by a linear model for each kind of part, over the features of :mod:`..estimate` and
the estimated cells; a memory in logic by its word count, width and the entropy of its contents;
block RAMs and macros by their geometry, exactly. Coefficients were fitted to parts that Yosys
measured (``prices.json``, remade by ``python -m genogate.synth.targets.fit``), which holds the
errors of totals whose parts were left out of the fit that tells them, too. What is around the GRU
layers has models of its own (:mod:`.stage_features`), and so have machines that several operators
share (:mod:`.shared_features`). A part of a kind that no model knows is
measured.

Figures are sums over parts: what ``genogate area --target`` prints as the sum of modules, and what
a search measures in the end.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...hdl.gru.design import Design
from ...model.errors import InputError, shown
from .. import estimate
from . import energy
from .cell_memories import latch_um2, macros_for
from .devices import DEVICES, check_target
from .energy import rounded, sky130_figures
from .memories import block_rams
from .shared_features import FEATURES as SHARED
from .stage_features import FEATURES as STAGES
from .stores import Store, memories_of

Identity = tuple[Any, ...]
#: Figures of a target that a search can minimise or limit.
FPGA_FIGURES = ("lut", "ff", "ebr", "dsp")
SKY130_FIGURES = ("um2", "energy")
#: All of them: figure -> unit.
UNITS = {
    "um2": "um^2 of cells and memories",
    "energy": "nJ a time step",
    "lut": "4-input LUTs",
    "ff": "flip-flops",
    "ebr": "block RAMs",
    "dsp": "DSP blocks",
}
#: Targets whose models serve others with the same cells.
_SAME = {"ice40-hx1k": "ice40-hx8k", "ecp5-85k": "ecp5-25k", "gowin-gw2a-18": "gowin-gw1n-9"}
FILE = Path(__file__).with_name("prices.json")


def figures_of(target: str) -> tuple[str, ...]:
    """The figures of a target; none for ``generic``. Raises :class:`InputError` where there is no
    such target."""
    check_target(target)
    return SKY130_FIGURES if target == "sky130" else FPGA_FIGURES if target in DEVICES else ()


def check_prices(target: str) -> None:
    """Raises :class:`InputError` where no models of the target's figures are shipped."""
    if figures_of(target) and _SAME.get(target, target) not in _document()["targets"]:
        raise InputError(
            f"target {target}: no models of its figures are shipped, so nothing searches by them; "
            f"`python -m genogate.synth.targets.fit {_SAME.get(target, target)}` makes some; "
            "genogate area --target measures it"
        )


def check_figure(target: str, name: str) -> None:
    """Raises :class:`InputError` where `target` has no figure `name`."""
    if name in figures_of(target):
        return
    able = [t for t in ("sky130", *DEVICES) if name in figures_of(t)]
    has = ", ".join(figures_of(target)) or "no figures of a part"
    raise InputError(
        f"objective {shown(name)}: target {target} has {has}; {name} is a figure of "
        f"--target {' or '.join(able[:3])}{' ...' if len(able) > 3 else ''}"
    )


#: FPGAs whose multipliers go to DSP blocks: the least width of the narrower factor from which Yosys
#: gives them one.
_DSP_FROM = {"ice40-up5k": 6, "ecp5-25k": 6, "gowin-gw1n-9": 6}


def dsp_blocks(target: str, identity: Identity) -> int:
    """DSP blocks of a part."""
    least = _DSP_FROM.get(_SAME.get(target, target))
    if least is None:
        return 0
    if identity[0] == "Dense":
        _, in_bits, _, lanes, _, _, _, digit, *_ = identity
    elif identity[0] == "Classifier":
        (_, _, _, digit, in_bits, *_), lanes = identity, 1
    else:
        return 0
    return int(lanes) if min(in_bits, digit) >= least else 0


def model_of(target: str, identity: Identity) -> str:
    """The model that tells a part's logic: its kind, and whether it multiplies in DSP blocks."""
    return f"{identity[0]}-dsp" if dsp_blocks(target, identity) else str(identity[0])


def memory_model(identity: Identity, store: Store, blocks: int) -> str | None:
    """The model that tells LUTs and flip-flops of a memory on an FPGA; None for the state inside
    another part, which that part's model tells with the rest."""
    if store.words is None:
        if identity[0] not in ("CodeBuffer", "WeightMemory") and identity[-1] != "load":
            return None
        return f"ram-{'block' if blocks else 'logic'}"
    return f"rom-{'block' if blocks else 'logic'}"


def logic_features(identity: Identity) -> list[float] | None:
    """Features of a part's logic without its memories; None for a kind that no model knows. Parts
    that are memory alone have none."""
    kind = identity[0]
    if kind in ("Rom", "CodeBuffer", "WeightMemory"):
        return []
    if kind == "Fork":
        return [1.0]
    features = STAGES.get(kind) or SHARED.get(kind) or estimate.FEATURES.get(kind)
    return None if features is None else [*features(identity), estimate.cells(identity)]


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(FILE.read_text())
    return document


@cache
def version() -> str:
    """Ten hex digits that change whenever prices may."""
    here = Path(__file__).parent
    names = (
        "prices.py",
        "shared_features.py",
        "stage_features.py",
        "memories.py",
        "energy.py",
        "prices.json",
        "energy.json",
    )
    texts = [(here / name).read_bytes() for name in names]
    digest = hashlib.sha256(b"\0".join([*texts, estimate.version().encode()]))
    return digest.hexdigest()[:10]


def use(target: str, coefficients: dict[str, Any]) -> None:
    """Take other coefficients from here on, in this process (for fits)."""
    _document()["targets"].setdefault(target, {})["coefficients"] = coefficients
    _coefficients.cache_clear()
    _logic.cache_clear()


@lru_cache(maxsize=256)
def _coefficients(target: str, figure: str, kind: str) -> np.ndarray | None:
    models = _document()["targets"][_SAME.get(target, target)]["coefficients"]
    values = models[figure].get(kind)
    return None if values is None else np.array(values)


def errors(target: str) -> dict[str, Any]:
    """What estimates of `target` are off by where a part is told by models that were not fitted to
    it: figure -> ``median_percent``, ``worst_percent``, ``rank_correlation``, ``genomes``."""
    errors: dict[str, Any] = _document()["targets"][_SAME.get(target, target)]["error"]
    return {**errors, "energy": energy.error()} if target == "sky130" else errors


def tells(target: str, design: Design) -> bool:
    """Whether models tell all parts of a design, so that its figures need no Yosys."""
    check_prices(target)
    names = ("um2",) if target == "sky130" else ("lut", "ff")
    return all(
        _logic(target, name, part.identity) is not None for part in design.parts for name in names
    )


def _dot(target: str, figure: str, kind: str, features: Sequence[float]) -> float | None:
    coefficients = _coefficients(target, figure, kind)
    if coefficients is None:
        return None
    return max(0.0, float(coefficients @ np.array(features, float)))


@lru_cache(maxsize=1 << 16)
def _logic(target: str, figure: str, identity: Identity) -> float | None:
    """A figure of a part's logic; None where no model knows it."""
    features = logic_features(identity)
    if features is None:
        return None
    if not features:
        return 0.0
    return _dot(target, figure, model_of(target, identity), features)


def _store_um2(store: Store, memories: str) -> float:
    if memories == "sram":
        number, macro = macros_for(store.depth, store.width)
        return number * macro.area_um2
    if store.words is None and memories == "latches":
        flops = _dot("sky130", "um2", "ram", store.features) or 0.0
        return latch_um2(store.depth, store.width, flops)
    return _dot("sky130", "um2", "rom" if store.words is not None else "ram", store.features) or 0.0


def _sky130(design: Design, memories: str) -> dict[str, float]:
    total = {"logic_um2": 0.0, "rom_um2": 0.0, "ram_um2": 0.0}
    for part in design.parts:
        logic = _logic("sky130", "um2", part.identity)
        if logic is None:
            from .figures import measure_parts

            (exact,) = measure_parts("sky130", [part], memories, workers=1)
            for name in total:
                total[name] += exact[name]
            continue
        total["logic_um2"] += logic
        for store in memories_of(part):
            kind = "rom_um2" if store.words is not None else "ram_um2"
            total[kind] += _store_um2(store, memories)
    return sky130_figures(design, total, memories)


def _fpga(target: str, design: Design) -> dict[str, float]:
    family = DEVICES[target].family
    total = dict.fromkeys(FPGA_FIGURES, 0.0)
    for part in design.parts:
        logic = {name: _logic(target, name, part.identity) for name in ("lut", "ff")}
        if None in logic.values():
            from .figures import measure_parts

            (exact,) = measure_parts(target, [part], "flops", workers=1)
            for name in total:
                total[name] += exact[name]
            continue
        total["dsp"] += dsp_blocks(target, part.identity)
        for name, value in logic.items():
            total[name] += value or 0.0
        for store in memories_of(part):
            written = store.words is None
            blocks = block_rams(family, store.depth, store.width, written=written)
            total["ebr"] += blocks
            if kind := memory_model(part.identity, store, blocks):
                for name in ("lut", "ff"):
                    total[name] += _dot(target, name, kind, store.features) or 0.0
    return total


def exact_figures(target: str, design: Design, memories: str = "flops") -> dict[str, float]:
    """:func:`figures`, not rounded."""
    return _sky130(design, memories) if target == "sky130" else _fpga(target, design)


def figures(target: str, design: Design, memories: str = "flops") -> dict[str, float]:
    """Estimated figures of a network.

    For sky130 ``um2`` with its shares ``logic_um2``, ``rom_um2``, ``ram_um2``, and with state as
    flip-flops ``energy`` (:func:`.energy.energy_nj`), memories as
    `memories` says (``flops``, ``latches``, ``sram``: :mod:`.sky130`); for an FPGA ``lut``, ``ff``,
    ``ebr``, ``dsp``. Deterministic, but for parts of kinds that no model knows, which Yosys
    measures.
    """
    return rounded(target, exact_figures(target, design, memories))


def limits(target: str) -> dict[str, int]:
    """The resources of an FPGA by the figure that is limited. Raises :class:`InputError` for other
    targets."""
    if target not in DEVICES:
        raise InputError(
            f"--fit: target {target} is no FPGA with so many resources; --max-um2 limits the area "
            "of sky130"
        )
    device = DEVICES[target].limits
    return {"ebr" if name == "ram" else name: number for name, number in device.items()}


def over(target: str, figures: Mapping[str, float]) -> dict[str, float]:
    """By how much figures exceed an FPGA's resources; empty where they fit."""
    excess = {name: figures.get(name, 0) - limit for name, limit in limits(target).items()}
    return {name: value for name, value in excess.items() if value > 0}

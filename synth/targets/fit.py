"""Fit the models of :mod:`.prices` to parts that Yosys measured, and write ``prices.json``.

``python -m genogate.synth.targets.fit [--cached] [TARGET ...]`` measures the parts of
:data:`.samples.FITTED` (half an hour a target where nothing is cached) and fits every target named,
all by default; with ``--cached`` it takes those parts that were measured before. ``--memories``
fits the model of sky130's written memories again, and nothing else (a minute).
"""

import hashlib
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...hdl.gru.design import Design
from ...hdl.operator import Part
from ...model.files import read_json, write_json
from ..estimate import ridge
from ..yosys import find as find_yosys
from . import cell_memories, cell_pieces, fpga, prices, sky130
from .devices import DEVICES
from .figures import key_of
from .memories import block_rams
from .prices import logic_features
from .samples import memories, samples
from .shared_features import MACHINES
from .stage_features import FEATURES as STAGES
from .stores import memories_of

#: Targets with models of their own.
MODELS = ("sky130", "ice40-up5k", "ice40-hx8k", "ecp5-25k", "gowin-gw1n-9")
#: Shares into which parts are divided to tell the error: each is told by models of the others.
FOLDS = 5
Say = Callable[[str], None]


@dataclass(frozen=True)
class Sample:
    """A measured value. network : whose part it is; fold : its share for the error"""

    features: tuple[float, ...]
    value: float
    network: str
    fold: int


@dataclass
class Measured:
    """All that was measured for a target.

    models : figure -> kind -> samples
    parts : key of a part (:func:`.figures.key_of`) -> (part, fold, figures)
    designs : by network
    """

    models: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    parts: dict[Any, tuple[Part, int, dict[str, float]]] = field(default_factory=dict)
    designs: dict[str, list[Design]] = field(default_factory=dict)

    def add(self, figure: str, kind: str, sample: Sample) -> None:
        self.models.setdefault(figure, {}).setdefault(kind, []).append(sample)

    def coefficients(
        self, take: Callable[[Sample], bool] = lambda sample: True
    ) -> dict[str, dict[str, list[float]]]:
        """Coefficients by figure and kind, of the samples to `take`."""
        return {
            figure: {
                kind: values
                for kind, rows in kinds.items()
                if (values := _fitted([row for row in rows if take(row)], kind))
            }
            for figure, kinds in self.models.items()
        }

    def totals(self) -> dict[str, list[tuple[list[Any], dict[str, float]]]]:
        """By network, keys of the parts and figures of every design that was measured whole."""
        samples_by_kind: dict[str, list[tuple[list[Any], dict[str, float]]]] = {}
        for network, designs in self.designs.items():
            for design in designs:
                keys = [key_of(part) for part in design.parts]
                if all(key in self.parts for key in keys):
                    rows = [self.parts[key][2] for key in keys]
                    total = {name: sum(row[name] for row in rows) for name in rows[0]}
                    samples_by_kind.setdefault(network, []).append((keys, total))
        return samples_by_kind


def _fitted(rows: Sequence[Sample], kind: str) -> list[float] | None:
    if not rows:
        return None
    x = np.array([row.features for row in rows], float)
    y = np.array([row.value for row in rows], float)
    if kind == "ram":
        # Flip-flops: nearly so much a bit, so that a few measured ones tell all by their share.
        values = np.linalg.lstsq(x / y[:, None], np.ones_like(y), rcond=None)[0]
    else:
        values = ridge(x, y)
    return [float(f"{value:.6g}") for value in values]


def fold_of(key: object) -> int:
    """The share that a part is in, the same everywhere."""
    return int(hashlib.sha256(repr(key).encode()).hexdigest()[:8], 16) % FOLDS


def _sky130(
    network: str, parts: dict[Any, Part], result: Measured, *, cached: bool, say: Say
) -> None:
    """Measure `parts`, piece by piece, and add the samples."""
    owners, pieces = [], []
    for key, part in parts.items():
        part_pieces = list(cell_pieces.pieces_of(cell_pieces.part_design(part), part.about))
        if cached and None in sky130.recall(part_pieces):
            continue
        owners += [key] * len(part_pieces)
        pieces += part_pieces
    for key, piece, cost in zip(owners, pieces, sky130.measure(pieces, say), strict=True):
        part, fold = parts[key], fold_of(key)
        figures = result.parts.setdefault(key, (part, fold, {"um2": 0.0}))[2]
        figures["um2"] += cost.um2
        if piece.kind == "ram" and math.prod(piece.shape) > cell_memories.LARGE:
            # What the model told is no sample of it.
            continue
        if piece.kind == "logic":
            kind, features = str(part.identity[0]), logic_features(part.identity)
        else:
            written = piece.kind == "ram"
            kind, features = (
                piece.kind,
                next(
                    store.features
                    for store in memories_of(part)
                    if (store.words is None) == written
                    and (store.depth, store.width) == piece.shape
                ),
            )
        if features:
            result.add("um2", kind, Sample(tuple(features), cost.um2, network, fold))


def _fpga(
    target: str, network: str, parts: dict[Any, Part], result: Measured, *, cached: bool, say: Say
) -> None:
    """Measure `parts` and add the samples of those that are memories alone."""
    device = DEVICES[target]
    texts = {key: fpga.part_text(part) for key, part in parts.items()}
    if cached:
        rows = fpga.recall(device, list(texts.values()))
        texts = {k: t for (k, t), row in zip(texts.items(), rows, strict=True) if row is not None}
    names = [parts[key].about for key in texts]
    for key, row in zip(texts, fpga.measure(device, list(texts.values()), names, say), strict=True):
        part, fold = parts[key], fold_of(key)
        figures: dict[str, float] = {"lut": row.lut, "ff": row.ff, "ebr": row.ram, "dsp": row.dsp}
        result.parts[key] = (part, fold, figures)
        if part.identity[0] not in ("Rom", "CodeBuffer", "WeightMemory"):
            continue
        (store,) = memories_of(part)
        kind = prices.memory_model(part.identity, store, row.ram)
        for figure in ("lut", "ff"):
            if kind:
                sample = Sample(tuple(store.features), figures[figure], network, fold)
                result.add(figure, kind, sample)


def _fpga_logic(target: str, result: Measured, network_of: dict[Any, str]) -> None:
    """Add samples of logic: what is left of a part without its constants by their model."""
    family = DEVICES[target].family
    memories = result.coefficients()
    for key, (part, fold, figures) in result.parts.items():
        features = logic_features(part.identity)
        if not features:
            continue
        for figure in ("lut", "ff"):
            value = figures[figure]
            for store in memories_of(part):
                written = store.words is None
                blocks = block_rams(family, store.depth, store.width, written=written)
                kind = prices.memory_model(part.identity, store, blocks)
                memory_fit = memories.get(figure, {}).get(kind or "")
                if memory_fit is not None:
                    value -= max(0.0, float(np.array(memory_fit) @ np.array(store.features)))
            kind = prices.model_of(target, part.identity)
            result.add(figure, kind, Sample(tuple(features), value, network_of[key], fold))


def measure(target: str, say: Say, *, cached: bool = False) -> Measured:
    """Measure the samples of `target`; with `cached` only look for what was measured before."""
    result = Measured()
    network_of: dict[Any, str] = {}
    shapes = {key_of(part): part for part in memories()}
    if target == "sky130":
        _sky130("shapes", shapes, result, cached=cached, say=say)
    else:
        _fpga(target, "shapes", shapes, result, cached=cached, say=say)
    for network, designs in samples(cells=target == "sky130"):
        say(f"{target}: {network}")
        parts = {key_of(part): part for design in designs for part in design.parts}
        parts = {key: part for key, part in parts.items() if key not in result.parts}
        network_of |= dict.fromkeys(parts, network)
        result.designs.setdefault(network, []).extend(designs)
        if target == "sky130":
            _sky130(network, parts, result, cached=cached, say=say)
        else:
            _fpga(target, network, parts, result, cached=cached, say=say)
    if target != "sky130":
        _fpga_logic(target, result, network_of)
    return result


class Parts:
    """Some parts in place of a network, for :func:`.prices.figures`."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts, self.cycles_per_step = list(parts), 0


def estimates(target: str, result: Measured) -> dict[Any, dict[str, float]]:
    """Figures of every part by models that were not fitted to it."""
    told: dict[Any, dict[str, float]] = {}
    for fold in range(FOLDS):

        def outside(sample: Sample, fold: int = fold) -> bool:
            return sample.fold != fold

        prices.use(target, result.coefficients(outside))
        for key, (part, part_fold, _) in result.parts.items():
            if part_fold == fold:
                told[key] = prices.exact_figures(target, Parts([part]))  # type: ignore[arg-type]
    return told


def error(target: str, result: Measured) -> dict[str, Any]:
    """What totals of networks are off by where no part was in the fit that tells it, by figure."""
    told = estimates(target, result)
    pairs: dict[str, list[Any]] = {}
    for network, rows in result.totals().items():
        for keys, total in rows:
            for name, value in total.items():
                estimate = sum(told[key][name] for key in keys)
                pairs.setdefault(name, []).append((network, estimate, value))
    return {name: summary(triples) for name, triples in pairs.items()}


def summary(triples: Sequence[tuple[str, float, float]]) -> dict[str, Any]:
    """Errors of (network, estimate, measured); the rank correlation is that of the network with
    most genomes."""
    off = [100 * abs(e - m) / max(m, 1) for _, e, m in triples]
    networks = [network for network, _, _ in triples]
    most = max(dict.fromkeys(networks), key=networks.count)
    pairs = [(e, m) for network, e, m in triples if network == most]
    return {
        "median_percent": round(float(np.median(off)), 2),
        "percent_90": round(float(np.quantile(off, 0.9)), 2),
        "worst_percent": round(max(off), 2),
        "genomes": len(triples),
        "rank_correlation": spearman(*zip(*pairs, strict=True)),
        "ranked": len(pairs),
        "ranked_network": most,
    }


def spearman(a: Iterable[float], b: Iterable[float]) -> float | None:
    """Rank correlation, to three digits; None where all are equal."""
    from scipy.stats import spearmanr

    x, y = list(a), list(b)
    if len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return round(float(spearmanr(x, y).statistic), 3)


def rom_errors(result: Measured) -> dict[str, Any]:
    """ROMs in sky130's cells, told by a model of those of all other networks."""
    rows = result.models["um2"]["rom"]
    report = {}
    for network in dict.fromkeys(row.network for row in rows):
        coefficients = _fitted([row for row in rows if row.network != network], "rom")
        held_out = [row for row in rows if row.network == network]
        if coefficients is None:
            continue
        e = np.array([row.features for row in held_out]) @ np.array(coefficients)
        m = np.array([row.value for row in held_out])
        report[network] = {
            "memories": len(held_out),
            "median_percent": round(float(np.median(100 * abs(e - m) / m)), 2),
            "sum_percent": round(float(100 * (e.sum() / m.sum() - 1)), 2),
        }
    return report


def remake(targets: Sequence[str] = MODELS, *, cached: bool = False, say: Say = print) -> None:
    """Measure and fit `targets`, and write ``prices.json``."""
    document = read_json(prices.FILE) if prices.FILE.exists() else {"targets": {}}
    for target in targets:
        result = measure(target, say, cached=cached)
        report = error(target, result)
        former = document["targets"].get(target, {})
        entry: dict[str, Any] = {
            "yosys": find_yosys().version,
            "parts": len(result.parts),
            "error": report,
            **({"rom": rom_errors(result)} if target == "sky130" else {}),
            "coefficients": result.coefficients(),
        }
        # Kinds that have samples of their own (:mod:`.fit_stages`, :mod:`.fit_shared`,
        # :func:`remake_memories`).
        for name in ("dense_layers", "machines", "ram"):
            if name in former:
                entry[name] = former[name]
        apart = {
            *STAGES,
            *(kind for kind in MACHINES if "machines" in former),
            *(["ram"] if "ram" in former else []),
        }
        for figure, kinds in former.get("coefficients", {}).items():
            new = entry["coefficients"][figure]
            # With `cached` a kind may have no sample now; its former model stays.
            new |= {kind: kinds[kind] for kind in kinds if kind in apart or kind not in new}
        document["targets"][target] = entry
        say(f"{target}: {len(result.parts)} parts, {report}")
        write_json(prices.FILE, document)


def remake_memories(*, cached: bool = False, say: Say = print) -> None:
    """Measure the written memories of :func:`.samples.memories` in sky130's cells, fit their model
    and write ``prices.json``, with the error of each told by the four other shares."""
    result = Measured()
    shapes = {key_of(part): part for part in memories()}
    _sky130("shapes", shapes, result, cached=cached, say=say)
    rows = result.models["um2"]["ram"]
    off = []
    for fold in range(FOLDS):
        model = _fitted([row for row in rows if row.fold != fold], "ram")
        for row in rows:
            if row.fold == fold and model:
                told = float(np.array(model) @ np.array(row.features))
                off.append(100 * abs(told / row.value - 1))
    document = read_json(prices.FILE)
    models = document["targets"]["sky130"]
    models["coefficients"]["um2"]["ram"] = _fitted(rows, "ram")
    models["ram"] = {
        "memories": len(rows),
        "median_percent": round(float(np.median(off)), 2),
        "worst_percent": round(max(off), 2),
    }
    say(f"sky130: {models['ram']}")
    write_json(prices.FILE, document)


if __name__ == "__main__":
    if "--memories" in sys.argv:
        remake_memories(cached="--cached" in sys.argv)
        sys.exit()
    named = [argument for argument in sys.argv[1:] if argument != "--cached"]
    if unknown := [name for name in named if name not in MODELS]:
        options = "usage: fit [--cached] [TARGET ...], or fit [--cached] --memories"
        help_ = f"{options}; a target is one of {' '.join(MODELS)}"
        print(help_ if unknown == ["--help"] else f"{unknown[0]}: none; {help_}", file=sys.stderr)
        sys.exit(2 * (unknown != ["--help"]))
    remake(named or MODELS, cached="--cached" in sys.argv)

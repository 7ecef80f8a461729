"""Fit the models of :mod:`.prices` to parts that Yosys measured, and write ``prices.json``.

``python -m genogate.synth.targets.fit [TARGET ...]`` measures the parts of :data:`.samples.FITTED`
(an hour for all targets where nothing is cached) and fits every target named, all by default.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...hdl.gru.design import Design
from ...hdl.operator import Part
from ...model.files import read_json, write_json
from ..estimate import ridge
from ..yosys import find as find_yosys
from . import fpga, prices, sky130
from .devices import DEVICES
from .figures import key_of
from .memories import block_rams
from .prices import logic_features
from .samples import samples
from .stores import memories_of

#: Targets with models of their own.
MODELS = ("sky130", "ice40-up5k", "ice40-hx8k", "ecp5-25k", "gowin-gw1n-9")
Say = Callable[[str], None]


@dataclass
class Rows:
    """Samples of one model: features and measured values, and the network that each is of."""

    features: list[list[float]] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)

    def add(self, network: str, features: Sequence[float], value: float) -> None:
        self.features.append(list(features))
        self.values.append(value)
        self.networks.append(network)

    def fitted(self, without: str | None = None) -> list[float] | None:
        """Coefficients, of the samples of all networks but one; None where there are none."""
        take = [k for k, name in enumerate(self.networks) if name != without]
        if not take:
            return None
        x = np.array([self.features[k] for k in take], float)
        y = np.array([self.values[k] for k in take], float)
        return [float(f"{value:.6g}") for value in ridge(x, y)]


Models = dict[str, dict[str, Rows]]


def _row(models: Models, figure: str, kind: str) -> Rows:
    return models.setdefault(figure, {}).setdefault(kind, Rows())


def distinct(designs: Sequence[Design]) -> dict[Any, Part]:
    """Parts that differ, by identity and by what their memories hold."""
    return {key_of(part): part for design in designs for part in design.parts}


def _sky130(network: str, parts: Sequence[Part], models: Models, say: Say) -> list[float]:
    """Add samples of every piece of `parts`; um^2 of each part."""
    owners, pieces = [], []
    for number, part in enumerate(parts):
        for piece in sky130.pieces_of(sky130.part_design(part), part.about):
            owners.append(number)
            pieces.append(piece)
    totals = [0.0] * len(parts)
    for number, piece, cost in zip(owners, pieces, sky130.measure(pieces, say), strict=True):
        totals[number] += cost.um2
        part = parts[number]
        if piece.kind == "logic":
            features = logic_features(part.identity)
            if features:
                _row(models, "um2", str(part.identity[0])).add(network, features, cost.um2)
            continue
        written = piece.kind == "ram"
        store = next(
            s
            for s in memories_of(part)
            if (s.words is None) == written and (s.depth, s.width) == piece.shape
        )
        _row(models, "um2", piece.kind).add(network, store.features, cost.um2)
    return totals


def _fpga(
    target: str, network: str, parts: Sequence[Part], models: Models, say: Say
) -> list[dict[str, float]]:
    """Add samples of memories; figures of each part."""
    device = DEVICES[target]
    rows = fpga.measure(device, parts, [part.about for part in parts], say)
    for part, row in zip(parts, rows, strict=True):
        if part.identity[0] not in ("Rom", "CodeBuffer"):
            continue
        (store,) = memories_of(part)
        kind = f"{'ram' if store.words is None else 'rom'}-{'block' if row.ram else 'logic'}"
        for figure in ("lut", "ff"):
            value = getattr(row, figure)
            _row(models, figure, kind).add(network, store.features, value)
    return [{"lut": r.lut, "ff": r.ff, "ebr": r.ram, "dsp": r.dsp} for r in rows]


def _fpga_logic(
    target: str,
    network: str,
    parts: Sequence[Part],
    rows: Sequence[dict[str, float]],
    models: Models,
) -> None:
    """Add samples of logic: what is left of a part without its memories by their models."""
    family = DEVICES[target].family
    for part, row in zip(parts, rows, strict=True):
        features = logic_features(part.identity)
        if not features:
            continue
        for figure in ("lut", "ff", "dsp"):
            value = row[figure]
            for store in memories_of(part):
                written = store.words is None
                blocks = block_rams(family, store.depth, store.width, written=written)
                kind = f"{'ram' if written else 'rom'}-{'block' if blocks else 'logic'}"
                samples_of = models.get(figure, {}).get(kind)
                if samples_of is not None:
                    coefficients = np.array(samples_of.fitted())
                    value -= max(0.0, float(coefficients @ np.array(store.features)))
            _row(models, figure, str(part.identity[0])).add(network, features, value)


def _spearman(a: Sequence[float], b: Sequence[float]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def measured(target: str, say: Say) -> tuple[Models, dict[str, list[tuple[Design, Any]]]]:
    """Samples of every model of `target`, and the designs of each network with their figures."""
    models: Models = {}
    networks: dict[str, list[tuple[Design, Any]]] = {}
    fpga_parts: list[tuple[str, list[Part], list[dict[str, float]]]] = []
    for network, designs in samples(cells=target == "sky130"):
        say(f"{target}: {network}")
        keys = distinct(designs)
        parts = list(keys.values())
        if target == "sky130":
            rows = [{"um2": v} for v in _sky130(network, parts, models, say)]
        else:
            rows = _fpga(target, network, parts, models, say)
            fpga_parts.append((network, parts, rows))
        by_key = dict(zip(keys, rows, strict=True))
        networks.setdefault(network, []).extend(
            (
                design,
                {
                    name: sum(by_key[key_of(part)][name] for part in design.parts)
                    for name in prices.figures_of(target)
                },
            )
            for design in designs
        )
    for network, parts, rows in fpga_parts:
        _fpga_logic(target, network, parts, rows, models)
    return models, networks


def _use(target: str, models: Models, without: str | None) -> dict[str, Any]:
    """Coefficients of all models, in the place where :mod:`.prices` looks for them."""
    coefficients = {
        figure: {kind: c for kind, rows in kinds.items() if (c := rows.fitted(without))}
        for figure, kinds in models.items()
    }
    prices._document()["targets"].setdefault(target, {})["coefficients"] = coefficients
    prices._coefficients.cache_clear()
    prices._logic.cache_clear()
    return coefficients


def error(target: str, models: Models, networks: dict[str, Any]) -> dict[str, Any]:
    """Errors of totals on networks that were left out of the fit, by figure."""
    pairs: dict[str, list[tuple[str, float, float]]] = {}
    for network, rows in networks.items():
        _use(target, models, network)
        for design, exact in rows:
            estimate = prices.figures(target, design)
            for name, value in exact.items():
                pairs.setdefault(name, []).append((network, estimate[name], value))
    report = {}
    for name, triples in pairs.items():
        off = [100 * abs(e - m) / max(m, 1) for _, e, m in triples]
        ranks = [
            _spearman(*zip(*((e, m) for n, e, m in triples if n == network), strict=True))
            for network in networks
        ]
        ranks = [rank for rank in ranks if np.isfinite(rank)]
        report[name] = {
            "median_percent": round(float(np.median(off)), 2),
            "percent_90": round(float(np.quantile(off, 0.9)), 2),
            "worst_percent": round(max(off), 2),
            "spearman_least": round(min(ranks), 3) if ranks else None,
            "networks": len(networks),
            "genomes": len(triples),
        }
    return report


def remake(targets: Sequence[str] = MODELS, say: Say = print) -> None:
    """Measure and fit `targets`, and write ``prices.json``."""
    path = prices._FILE
    document = read_json(path) if path.exists() else {"targets": {}}
    prices._document.cache_clear()
    if not path.exists():
        write_json(path, document)
    for target in targets:
        models, networks = measured(target, lambda text: None)
        report = error(target, models, networks)
        document["targets"][target] = {
            "yosys": find_yosys().version,
            "samples": {k: len(r.values) for f in list(models)[:1] for k, r in models[f].items()},
            "error": report,
            "coefficients": _use(target, models, None),
        }
        say(f"{target}: {report}")
        write_json(path, document)


if __name__ == "__main__":
    remake(sys.argv[1:] or MODELS)

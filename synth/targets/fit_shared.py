"""Fit the models of machines that several operators share (``--share gates`` and ``all``) in
sky130's cells, to random genomes whose machines Yosys measured.

``python -m genogate.synth.targets.fit_shared`` measures the machines of :data:`GROUPS` (a quarter
of an hour where nothing is cached) without their constants, and writes the models into
``prices.json`` beside the others, with the error of machines that were left out of the fit that
tells them.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...hdl.operator import Part
from ...model.files import read_json, write_json
from ...model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ...model.knobs import Knobs
from . import prices
from .figures import key_of, measure_parts
from .fit import FOLDS, Measured, Sample, fold_of, summary
from .samples import designs
from .shared_features import MACHINES

TARGET = "sky130"
Say = Callable[[str], None]


@dataclass(frozen=True)
class SharedGroup:
    """Random genomes of a checkpoint, every gene from 2 to 8.

    lanes : bits of a weight a cycle with ``all``, multipliers with ``gates``
    activation : of :class:`~genogate.model.knobs.Knobs`
    """

    source: str
    share: str
    count: int
    lanes: int = 1
    activation: str = "table"
    seed: int = 2026

    @property
    def knobs(self) -> Knobs:
        return Knobs(
            activation=self.activation,
            share=self.share,
            lanes_x=self.lanes,
            lanes_h=self.lanes,
        )


GROUPS = (
    SharedGroup("digits-row", "gates", 60),
    SharedGroup("digits-row", "all", 60),
    SharedGroup("kws10", "gates", 8),
    SharedGroup("kws10", "all", 8),
    SharedGroup("digits-row", "gates", 8, 4),
    SharedGroup("digits-row", "all", 8, 4),
    SharedGroup("digits-row", "gates", 12, activation="pwl"),
    SharedGroup("digits-row", "all", 12, activation="pwl"),
)


def drawn(count: int, seed: int) -> list[Genome]:
    """So many random genomes."""
    rows = np.random.default_rng(seed).integers(MIN_BITS, MAX_BITS + 1, (count, len(GENES)))
    return [Genome.from_genes([int(bits) for bits in row]) for row in rows]


def machines(group: SharedGroup) -> list[Part]:
    """The machine of every genome of a group."""
    return [
        part
        for design in designs(group.source, group.knobs, drawn(group.count, group.seed))
        for part in design.parts
        if part.identity[0] in MACHINES
    ]


def measure(groups: tuple[SharedGroup, ...] = GROUPS, say: Say = print) -> Measured:
    """Samples of the machines."""
    result = Measured()
    for group in groups:
        parts = machines(group)
        about = f"{group.source} {group.share} {group.lanes} {group.activation}"
        say(f"{about}: {len(parts)} machines")
        for part, row in zip(parts, measure_parts(TARGET, parts, workers=1), strict=True):
            features = prices.logic_features(part.identity)
            assert features is not None
            sample = Sample(tuple(features), row["logic_um2"], about, fold_of(key_of(part)))
            result.add("um2", str(part.identity[0]), sample)
    return result


def error(result: Measured) -> dict[str, Any]:
    """By kind, what machines are off by that a model of the four other shares tells; the rank
    correlation is that of the largest group."""
    report = {}
    for kind, rows in result.models["um2"].items():
        triples = []
        for fold in range(FOLDS):

            def outside(sample: Sample, fold: int = fold) -> bool:
                return sample.fold != fold

            told = np.array(result.coefficients(outside)["um2"][kind])
            triples += [
                (row.network, float(told @ np.array(row.features)), row.value)
                for row in rows
                if row.fold == fold
            ]
        report[kind] = summary(triples)
    return report


def remake(say: Say = print) -> None:
    """Measure and fit, and write ``prices.json``."""
    document = read_json(prices.FILE)
    entry = document["targets"][TARGET]
    result = measure(say=say)
    entry["machines"] = error(result)
    entry["coefficients"]["um2"] |= result.coefficients()["um2"]
    say(f"{TARGET}: machines {entry['machines']}")
    write_json(prices.FILE, document)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(
            "usage: python -m genogate.synth.targets.fit_shared, without arguments", file=sys.stderr
        )
        sys.exit(2 * (sys.argv[1:] != ["--help"]))
    remake()

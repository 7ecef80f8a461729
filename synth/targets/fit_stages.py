"""Fit the models of :mod:`.stage_features` to random dense layers that Yosys measured, and tell
what dense layers are off by.

``python -m genogate.synth.targets.fit_stages [TARGET ...]`` measures the dense layers of
:data:`NETWORKS` random networks (some minutes a target) without their constants, fits control,
requantiser and copy of the state, and writes them into ``prices.json`` beside the others, with the
error of dense layers, each told by models of the control that were not fitted to it. No model of
any other kind of part was fitted to a dense layer.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...hdl.dense import DensePlan
from ...hdl.gru.design import Design
from ...hdl.operator import Part
from ...model.files import read_json, write_json
from ...model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ...model.head import ACTIVATIONS, Head
from ...model.knobs import Lanes
from ...sim.random_model import random_model
from . import prices
from .figures import key_of, measure_parts
from .fit import FOLDS, MODELS, Measured, Parts, Sample, summary
from .stage_features import FEATURES

#: Random networks with a dense layer in front and one behind, those without any, and the seed of
#: what is drawn.
NETWORKS, HEADS, SEED = 13, 10, 11
#: Least and most units of a layer, and features.
SIZES = (3, 24)
Say = Callable[[str], None]
Coefficients = Mapping[str, Mapping[str, Any]]
#: A network: parts of its dense layers, and all parts of the kinds that are fitted.
Drawn = tuple[list[list[Part]], list[Part]]


def drawn(count: int = NETWORKS, heads: int = HEADS, seed: int = SEED) -> Iterator[Drawn]:
    """`count` random networks with dense layers of all functions, widths, lanes and pipelines, then
    `heads` without any, which answer codes at every step."""
    rng = np.random.default_rng(seed)
    for number in range(count + heads):
        inputs, hidden, front, back, classes = rng.integers(*SIZES, 5, endpoint=True).tolist()
        genes = rng.integers(MIN_BITS, MAX_BITS + 1, len(GENES) + 4).tolist()
        before, behind = (ACTIVATIONS[k] for k in rng.integers(0, len(ACTIVATIONS), 2))
        bare = number >= count
        at = "every" if bare or number % 2 else "last"
        pairs = () if bare else ((genes[17], genes[18]), (genes[19], genes[20]))
        model = random_model(
            rng,
            Genome((tuple(genes[:17]),), pairs),
            2 if bare else inputs,
            hidden,
            max(2, classes),
            front=[] if bare else [(before, front)],
            back=[] if bare else [(behind, back)],
            head=Head(at, "codes" if bare or number % 3 == 0 else "class"),
            head_bits=int(rng.integers(2, 9)),
        )
        lanes = int(rng.choice([1, 1, 2, 4]))
        pipeline = int(rng.choice([0, 0, 1, 2]))
        design = Design.of(model, Lanes(lanes, lanes), pipeline=pipeline)
        kinds = [part for part in design.parts if part.identity[0] in FEATURES]
        yield (
            [
                [part for part in parts.values() if part.identity[0] != "Rom"]
                for parts in design.stages.values()
            ],
            kinds,
        )


def measure(
    target: str, networks: Sequence[Drawn], say: Say
) -> tuple[Measured, dict[Any, dict[str, float]]]:
    """Samples of the kinds that are fitted, and figures of all parts (:func:`.figures.key_of`)."""
    parts = {key_of(p): p for stages, kinds in networks for row in (*stages, kinds) for p in row}
    say(f"{target}: {len(parts)} parts")
    rows = measure_parts(target, list(parts.values()), workers=1)
    figures, result = dict(zip(parts, rows, strict=True)), Measured()
    # On sky130 memories have models of their own.
    told = {"um2": "logic_um2"} if target == "sky130" else {"lut": "lut", "ff": "ff"}
    for number, (_, kinds) in enumerate(networks):
        for part in kinds:
            features = prices.logic_features(part.identity)
            assert features is not None
            for figure, measured in told.items():
                value = figures[key_of(part)][measured]
                sample = Sample(tuple(features), value, f"drawn {number}", number % FOLDS)
                result.add(figure, str(part.identity[0]), sample)
    return result, figures


def joined(coefficients: Coefficients, more: Coefficients) -> dict[str, dict[str, Any]]:
    """Coefficients of both, by figure and kind."""
    return {figure: {**coefficients[figure], **more.get(figure, {})} for figure in coefficients}


def error(
    target: str,
    networks: Sequence[Drawn],
    result: Measured,
    figures: Mapping[Any, Mapping[str, float]],
    coefficients: Coefficients,
) -> dict[str, Any]:
    """What dense layers are off by, told by models of control of other networks: all of them, those
    of one lane and no pipeline (as the networks have that other kinds are fitted to), and the
    control alone."""
    pairs: dict[str, list[tuple[str, float, float]]] = {}
    names = ("um2",) if target == "sky130" else ("lut", "ff")
    for fold in range(FOLDS):

        def outside(sample: Sample, fold: int = fold) -> bool:
            return sample.fold != fold

        prices.use(target, joined(coefficients, result.coefficients(outside)))
        for stages, _ in networks[fold::FOLDS]:
            for parts in stages:
                control = [part for part in parts if part.identity[0] == "StageControl"]
                (dense,) = (part.identity for part in parts if part.identity[0] == "Dense")
                groups = {"": parts, " of control": control}
                if dense[3] == 1 and len(dense) == len(DensePlan.__dataclass_fields__):
                    groups[" of one lane"] = parts
                for group, group_parts in groups.items():
                    told = prices.exact_figures(target, Parts(group_parts))  # type: ignore[arg-type]
                    for name in names:
                        total = sum(figures[key_of(part)][name] for part in group_parts)
                        row = "dense layers", told[name], total
                        pairs.setdefault(f"{name}{group}", []).append(row)
    return {name: summary(rows) for name, rows in pairs.items()}


def remake(targets: Sequence[str] = MODELS, say: Say = print) -> None:
    """Measure and fit `targets`, and write ``prices.json``."""
    document = read_json(prices.FILE)
    networks = list(drawn())
    for target in targets:
        entry = document["targets"][target]
        result, figures = measure(target, networks, say)
        coefficients = entry["coefficients"]
        entry["dense_layers"] = error(target, networks, result, figures, coefficients)
        entry["coefficients"] = joined(coefficients, result.coefficients())
        say(f"{target}: dense layers {entry['dense_layers']}")
        write_json(prices.FILE, document)


if __name__ == "__main__":
    remake(sys.argv[1:] or MODELS)

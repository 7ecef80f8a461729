"""Random networks of the campaign: genomes, knobs, sizes, and cases that force the rare ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ....model.head import ACTIVATIONS, OUTPUTS, Head
from ....model.integer import IntModel, code_range
from ....model.knobs import SHARED_LANES, SHARES, WEIGHTS
from ...random_model import random_model

#: Of the cases that are not forced every so many-th has dense layers around its GRU layers.
STRUCTURE_EVERY = 4


@dataclass(frozen=True)
class Case:
    """One network of a campaign, its knobs, and what is put through it."""

    seed: int
    index: int
    name: str
    genes: tuple[tuple[int, ...], ...]
    input_size: int
    hidden_size: int
    classes: int
    lanes_x: int
    lanes_h: int
    channel: bool
    terms: int | None
    activation: str
    entries: int
    dense_output: str
    batch: int
    steps: int
    stall: float
    input_bits: int = 8
    share: str = "none"
    classifier_bits: int = 8
    at: str = "last"
    output: str = "class"
    function: str = "none"
    head_bits: int = 8
    pipeline: int = 0
    front: tuple[tuple[str, int], ...] = ()
    back: tuple[tuple[str, int], ...] = ()
    dense: tuple[tuple[int, int], ...] = ()
    initial_state: bool = False
    weights: str = "rom"

    @property
    def ideal_cycles(self) -> int:
        """Cycles of a time step if no multiplier ever waited: that of the slowest layer."""
        state_passes = -(-self.hidden_size // self.lanes_h)
        sizes = [self.input_size] + [self.hidden_size] * (len(self.genes) - 1)
        return max(self.hidden_size * max(-(-size // self.lanes_x), state_passes) for size in sizes)

    def model(self) -> IntModel:
        """The integer model of the case, always the same one."""
        rng = np.random.default_rng([self.seed, self.index, 1])
        return random_model(
            rng,
            Genome(self.genes, self.dense),
            self.input_size,
            self.hidden_size,
            self.classes,
            channel=self.channel,
            terms=self.terms,
            activation=self.activation,
            entries=self.entries,
            dense_output=self.dense_output,
            input_bits=self.input_bits,
            classifier_bits=self.classifier_bits,
            head=Head(self.at, self.output, self.function),
            head_bits=self.head_bits,
            front=self.front,
            back=self.back,
            initial_state=self.initial_state,
        )

    def codes(self) -> np.ndarray:
        """Input codes int64 [batch, steps, features], always the same ones."""
        rng = np.random.default_rng([self.seed, self.index, 2])
        shape = (self.batch, self.steps, self.input_size)
        return rng.integers(*code_range(self.input_bits), shape, endpoint=True)


def _random_case(seed: int, index: int) -> Case:
    rng = np.random.default_rng([seed, index, 0])

    def one_of(values: Iterable[Any], weights: Sequence[float] | None = None) -> Any:
        options = list(values)
        return options[int(rng.choice(len(options), p=weights))]

    layers = one_of((1, 2, 3), (0.8, 0.17, 0.03))
    hidden = one_of(
        (int(rng.integers(1, 9)), int(rng.integers(9, 17)), int(rng.integers(17, 33))),
        (0.5, 0.42, 0.08),
    )
    case = Case(
        seed=seed,
        index=index,
        name="random",
        genes=tuple(
            tuple(map(int, rng.integers(MIN_BITS, MAX_BITS + 1, len(GENES)))) for _ in range(layers)
        ),
        input_size=int(rng.integers(1, 21)),
        hidden_size=hidden,
        classes=int(rng.integers(2, 12)),
        lanes_x=int(rng.integers(1, 9)),
        lanes_h=int(rng.integers(1, 9)),
        channel=bool(rng.random() < 0.4),
        terms=one_of((1, 2, 3, None)),
        activation=one_of(("pwl", "table", "mix")),
        entries=one_of((1, 2, 4, 8, 16)),
        dense_output=one_of(("gene", "8", "mix")),
        batch=int(rng.integers(2, 5)),
        steps=int(rng.integers(3, 8)),
        stall=float(round(rng.uniform(0.1, 0.7), 2)),
        # Drawn last, so that all else is as it was before there was a choice.
        input_bits=one_of((8, *range(1, 8)), (0.44, *[0.08] * 7)),
    )
    case = _shared(case, one_of(SHARES, (0.6, 0.15, 0.25)))
    case = replace(case, classifier_bits=one_of((8, *range(2, 8)), (0.52, *[0.08] * 6)))
    output = one_of(OUTPUTS, (0.6, 0.15, 0.25))
    at = one_of(("last", "every"))
    case = replace(
        case,
        at=at,
        output=output,
        function=one_of(ACTIVATIONS) if output == "codes" else "none",
        head_bits=int(rng.integers(MIN_BITS, MAX_BITS + 1)) if output == "codes" else 8,
    )
    pipeline = one_of((0, 1, 2), (0.6, 0.2, 0.2))
    case = replace(case, pipeline=pipeline if case.share == "none" else 0)
    return replace(case, weights=one_of(WEIGHTS, (0.8, 0.2)))


def _shared(case: Case, share: str) -> Case:
    """The same with what `share` says, and small: a unit takes some hundred cycles."""
    if share == "none":
        return case
    lanes = case.lanes_x
    if share == "all":
        lanes = SHARED_LANES[lanes % len(SHARED_LANES)]
    return replace(
        case,
        share=share,
        pipeline=0,
        lanes_x=lanes,
        lanes_h=lanes,
        input_size=min(case.input_size, 6),
        hidden_size=min(case.hidden_size, 5),
        batch=2,
        steps=min(case.steps, 4),
    )


def _loadable(case: Case) -> Case:
    """The same with 2 units in each layer, and 2 outputs, at least, where weights are loaded."""
    if case.weights == "rom":
        return case
    front, back = (
        tuple((function, max(2, units)) for function, units in stages)
        for stages in (case.front, case.back)
    )
    hidden, classes = max(2, case.hidden_size), max(2, case.classes)
    return replace(case, hidden_size=hidden, classes=classes, front=front, back=back)


def _forced_genomes() -> list[dict[str, Any]]:
    """All widths alike, and each operator's alone at the least."""
    forced: list[dict[str, Any]] = [
        {"name": f"all-{bits}", "genes": Genome.uniform(bits).layers} for bits in (2, 8)
    ]
    for position, gene in enumerate(GENES):
        genes = [8] * len(GENES)
        genes[position] = 2
        forced.append({"name": f"int8 with {gene} at 2", "genes": (tuple(genes),)})
    return forced


def _forced_sizes() -> list[dict[str, Any]]:
    """Lanes, layers and sizes."""
    forced: list[dict[str, Any]] = []
    for lanes in range(1, 9):
        # One more operand than a whole number of words, so that the last word is not full.
        forced.append(
            {
                "name": f"lanes {lanes}",
                "lanes_x": lanes,
                "lanes_h": 9 - lanes,
                "input_size": 2 * lanes + 1,
                "hidden_size": 10,
            }
        )
    return [
        *forced,
        {"name": "two layers int8", "genes": Genome.uniform(8, 2).layers},
        {"name": "two layers int2", "genes": Genome.uniform(2, 2).layers},
        {"name": "one input", "input_size": 1, "hidden_size": 12},
        {"name": "more inputs than units", "input_size": 24, "hidden_size": 5},
        {"name": "one unit", "hidden_size": 1},
        {
            "name": "32 units, one lane",
            "hidden_size": 32,
            "input_size": 8,
            "lanes_x": 1,
            "lanes_h": 1,
            "batch": 2,
            "steps": 4,
        },
    ]


def _forced_knobs() -> list[dict[str, Any]]:
    """Values of the knobs that networks of one layer have."""
    return [
        {"name": "channel shifts", "channel": True, "genes": Genome.uniform(4).layers},
        {"name": "no channel shifts", "channel": False, "genes": Genome.uniform(4).layers},
        *(
            {
                "name": f"multiplier terms {terms or 'unconstrained'}",
                "terms": terms,
                "genes": Genome.uniform(6).layers,
            }
            for terms in (1, 2, 3, None)
        ),
        *(
            {
                "name": f"activation {kind}",
                "activation": kind,
                "entries": 8,
                "genes": Genome.uniform(8).layers,
            }
            for kind in ("pwl", "table")
        ),
        *(
            {
                "name": f"dense output {output}",
                "dense_output": output,
                "genes": Genome.uniform(3).layers,
            }
            for output in ("gene", "8")
        ),
        *(
            {"name": f"pipeline {depth}", "pipeline": depth, "channel": depth == 2}
            for depth in (1, 2)
        ),
        *({"name": f"input of {bits} bits", "input_bits": bits} for bits in (1, 2, 4)),
        *({"name": f"classifier of {bits} bits", "classifier_bits": bits} for bits in (2, 5)),
    ]


def _forced_sharing() -> list[dict[str, Any]]:
    """Layers and heads that share hardware."""
    return [
        {"name": f"share {share}, {name}", "share": share, "genes": genes, **more}
        for share in SHARES[1:]
        for name, genes, more in (
            ("int8", Genome.uniform(8).layers, {"activation": "pwl", "terms": 1}),
            ("int2", Genome.uniform(2).layers, {"activation": "pwl"}),
            ("tables", Genome.uniform(5).layers, {"activation": "table"}),
            ("channel shifts", Genome.uniform(6).layers, {"channel": True, "terms": None}),
            ("two layers", Genome.uniform(4, 2).layers, {}),
            ("three layers", Genome.uniform(3, 3).layers, {}),
            ("one unit", Genome.uniform(8).layers, {"hidden_size": 1, "input_size": 1}),
            ("classes at every step", Genome.uniform(5, 2).layers, {"at": "every"}),
            ("logits", Genome.uniform(5).layers, {"at": "every", "output": "logits"}),
            (
                "codes",
                Genome.uniform(6).layers,
                {"at": "every", "output": "codes", "function": "sigmoid"},
            ),
        )
    ]


def _forced_heads() -> list[dict[str, Any]]:
    """What the network answers, and when."""
    return [
        {"name": f"head: {Head(at, output, function)}", "genes": genes, **more}
        | {"at": at, "output": output, "function": function, "head_bits": bits}
        for at, output, function, bits, genes, more in (
            ("every", "class", "none", 8, Genome.uniform(8).layers, {}),
            ("every", "class", "none", 8, Genome.uniform(4).layers, {"hidden_size": 1}),
            ("every", "logits", "none", 8, Genome.uniform(5, 2).layers, {}),
            ("every", "codes", "sigmoid", 8, Genome.uniform(8).layers, {"classes": 12}),
            ("every", "codes", "tanh", 5, Genome.uniform(6).layers, {"activation": "table"}),
            ("every", "codes", "relu", 3, Genome.uniform(8).layers, {"terms": None}),
            ("every", "codes", "none", 8, Genome.uniform(3).layers, {"classes": 1}),
            ("last", "codes", "sigmoid", 4, Genome.uniform(8).layers, {"activation": "pwl"}),
            ("last", "logits", "none", 8, Genome.uniform(8).layers, {}),
        )
    ]


def _forced_loads() -> list[dict[str, Any]]:
    """Weights that are loaded, with everything that may be shared, and dense layers around."""
    dense: dict[str, Any] = {
        "front": (("relu", 3),),
        "back": (("tanh", 2),),
        "dense": ((3, 5), (6, 4)),
        "initial_state": True,
    }
    return [
        {"name": f"loaded, share {share}, {name}", "share": share, "weights": "load", **more}
        for share in SHARES
        for name, more in (
            ("alone", {"genes": Genome.uniform(4).layers, "channel": True, "terms": 3}),
            ("dense", {"genes": Genome.uniform(5).layers, **dense}),
        )
    ]


def _forced() -> list[dict[str, Any]]:
    """What the first cases must be, whatever the seed: changes to a random case."""
    return [
        *_forced_genomes(),
        *_forced_sizes(),
        *_forced_knobs(),
        *_forced_sharing(),
        *_forced_heads(),
        *_forced_loads(),
    ]


def make_case(seed: int, index: int, structures: bool = False) -> Case:
    """Case `index` of the campaign of `seed`: a pure function of the arguments.

    With `structures` all of them have dense layers around the GRU layers, and none is forced.
    """
    case, forced = _random_case(seed, index), _forced()
    if index < len(forced) and not structures:
        change = dict(forced[index])
        # Forced genomes have their own number of layers; the others keep one layer.
        change.setdefault("genes", case.genes[:1])
        change.setdefault("input_bits", 8)
        change.setdefault("classifier_bits", 8)
        usual = ("share", "pipeline", "at", "output", "function", "head_bits", "weights")
        for name in usual:
            change.setdefault(name, Case.__dataclass_fields__[name].default)
        case = replace(case, **change)
        case = _shared(case, case.share)
    elif structures or index % STRUCTURE_EVERY == 0:
        from .structures import with_structure

        case = with_structure(case)
    return _loadable(case)

"""What an experiment is a function of: its plan, and the plan of every task."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from ...model import zoo
from ...model.checkpoints.recipe import Recipe, batch_for, epochs_for
from ...model.data.tasks import is_own, load_task
from ...model.errors import InputError, each_once, index_within, shown
from ...model.genome import Genome
from ...model.integer import MAX_SIZE
from ...model.knobs import Knobs
from ...model.qat.recipe import Tuning
from ..genomes.config import Config

#: Homogeneous networks, and those whose weights alone are narrow: the rivals of what is found.
BASELINES: dict[str, tuple[int, int]] = {
    "int8": (8, 8),
    "int4": (4, 4),
    "int3": (3, 3),
    "int2": (2, 2),
    "weights 3, rest 8": (3, 8),
    "weights 2, rest 8": (2, 8),
}
#: Whose answers may teach networks of other sizes than the reference's.
TEACHERS = ("own", "reference")


@dataclass(frozen=True)
class Plan:
    """All that an experiment is a function of, besides the data.

    checkpoints : names or files; the first is the reference, others of its size are further seeds,
        and those of other sizes stand for networks of `hidden` that need no training then
    hidden : further hidden sizes, trained by the task's recipe
    epochs, any_epochs : of training for one genome, from the better of the weights that there
        are by validation, and for all
    baselines, small : of :data:`BASELINES`, trained at the reference's size, and at the others
    sequences : of the training part that an epoch sees (evenly spread); None: all
    any_sequences : likewise, of training for all; None: as `sequences`
    estimate : whether searches estimate cells (:mod:`genogate.synth.estimate`); Yosys measures
    their
        fronts and all that is trained in any case
    initial, pop_size, generations, exploit : of every search
    scales : fixed or learned, of the networks trained for their genome; None: as training has it
    teacher : whose answers teach a network that is trained for its genome, "own", the float network
        of its size, or "reference", that of the reference's size and its seed
    any_seeds : whether further seeds get weights for all too; else they train from float weights
    knob_genes : of every search, besides the widths
    seed_patterns : whether populations start from genomes that were written by hand too, and these
        count as found. Without, what a search starts from is computed: homogeneous genomes, and
        those ordered by the sensitivity of every operator
    rounds, trained : rounds of training what was found, and networks of each
    every_seed : whether rounds train on every seed (what validation parts are too small to tell
        from one), or on the first, and the best of each cost and limit on the others afterwards
    sim_sequences, sim_steps : of the test part, simulated as Verilog; None: all steps
    """

    task: str
    checkpoints: tuple[str, ...] = ()
    hidden: tuple[int, ...] = ()
    knobs: Knobs = field(default_factory=lambda: Knobs(activation="table"))
    objectives: tuple[str, ...] = ("accuracy", "size", "cells")
    baselines: tuple[str, ...] = tuple(BASELINES)
    small: tuple[str, ...] = ("int4", "weights 2, rest 8")
    knob_genes: tuple[str, ...] = ("input_bits",)
    seed_patterns: bool = False
    seed: int = 0
    float_epochs: int | None = None
    epochs: int = 30
    scales: str | None = None
    teacher: str = "own"
    any_epochs: int = 50
    any_seeds: bool = False
    sequences: int | None = None
    any_sequences: int | None = None
    estimate: bool = True
    initial: str = "sensitivity"
    pop_size: int = 24
    generations: int = 5
    exploit: int = 5
    rounds: int = 3
    trained: int = 6
    every_seed: bool = True
    sim_sequences: int = 20
    sim_steps: int | None = None

    def __post_init__(self) -> None:
        for name, low, most in (
            ("epochs", 1, 100_000),
            ("any_epochs", 1, 100_000),
            ("rounds", 0, 100),
            ("trained", 1, 1000),
            ("sim_sequences", 0, 100_000),
            ("seed", 0, 2**31 - 1),
            ("sequences", 1, 1 << 30),
            ("any_sequences", 1, 1 << 30),
            ("sim_steps", 1, 1 << 30),
            ("float_epochs", 1, 100_000),
        ):
            value = getattr(self, name)
            if value is not None:
                index_within(name, value, low, most)
        if len(set(self.hidden)) != len(self.hidden) or not all(
            1 <= h <= MAX_SIZE for h in self.hidden
        ):
            raise InputError(
                f"hidden: {shown(self.hidden)}: different sizes from 1 to {MAX_SIZE} are needed"
            )
        each_once("checkpoints", self.checkpoints)
        if self.teacher not in TEACHERS:
            raise InputError(f"teacher {shown(self.teacher)}: {', '.join(TEACHERS)} are known")
        for name in (*self.baselines, *self.small):
            if name not in BASELINES:
                raise InputError(f"baseline {shown(name)}: {', '.join(BASELINES)} are known")
        # What a search or a training would refuse, before anything is done.
        assert self.config
        assert self.tuning

    @cached_property
    def tuning(self) -> Tuning:
        """How a network is trained for its genome."""
        changes: dict[str, Any] = {"scales": self.scales} if self.scales else {}
        return Tuning(epochs=self.epochs, seed=self.seed, **changes)

    @cached_property
    def config(self) -> Config:
        """The configuration of every search."""
        return Config(
            objectives=self.objectives,
            pop_size=self.pop_size,
            seed=self.seed,
            generations=self.generations,
            exploit=self.exploit,
            knob_genes=self.knob_genes,
            initial=self.initial,
        )


#: What differs from the defaults of :class:`Plan`, by task: what takes half an hour of a core
#: (digits-row, kws4), or an hour or more.
_SPEECH = {"hidden": (48, 32), "epochs": 60, "any_epochs": 24, "trained": 4, "teacher": "reference"}
_PIXELS = {
    "hidden": (48,),
    "epochs": 5,
    "sequences": 16_000,
    "teacher": "reference",
    "any_epochs": 12,
    "any_sequences": 8000,
    "pop_size": 16,
    "generations": 3,
    "exploit": 3,
    "rounds": 3,
    "trained": 4,
    "every_seed": False,
    "sim_steps": 16,
    "baselines": ("int8", "int4", "int3", "weights 3, rest 8", "weights 2, rest 8"),
}
FULL: dict[str, dict[str, Any]] = {
    "digits-row": {
        "hidden": (24, 20),
        "epochs": 60,
        "any_epochs": 30,
        "rounds": 9,
        "trained": 4,
        "teacher": "reference",
    },
    "kws4": _SPEECH,
    "kws10": _SPEECH,
    "kws12": _SPEECH,
    "mnist-row": {
        "hidden": (48, 32),
        "epochs": 4,
        "any_epochs": 5,
        "rounds": 2,
        "trained": 5,
        "every_seed": False,
    },
    "mnist-pixel14": _PIXELS,
    "mnist-pixel": {
        **_PIXELS,
        # Hours for one seed; further ones are shipped, and can be given.
        "checkpoints": ("mnist-pixel", "mnist-pixel-h48"),
        "epochs": 4,
        "sequences": 8000,
        "any_epochs": 6,
        "any_sequences": 6000,
        "pop_size": 12,
        "rounds": 2,
        "trained": 3,
    },
}
#: A look, for a task whose trainings take seconds.
QUICK: dict[str, Any] = {
    "hidden": (24,),
    "float_epochs": 2,
    "initial": "homogeneous",
    "epochs": 1,
    "any_epochs": 1,
    "pop_size": 8,
    "generations": 1,
    "exploit": 1,
    "rounds": 2,
    "trained": 2,
    "baselines": ("int8", "int3"),
    "small": ("int4",),
    "sequences": 400,
    "sim_sequences": 2,
    "sim_steps": 4,
    "objectives": ("accuracy", "size"),
}
#: Updates of one training for a genome, or for all, on one's own data.
OWN_UPDATES = 2000
BUDGETS = ("full", "quick")


def plan_for(task: str, budget: str, given: Mapping[str, Any]) -> Plan:
    """The plan of `task`, with what `given` sets (None: not set). Raises :class:`InputError`."""
    if budget not in BUDGETS:
        raise InputError(f"budget {shown(budget)}: {', '.join(BUDGETS)} are known")
    settings = {name: value for name, value in given.items() if value is not None}
    defaults = FULL.get(task, {}) if budget == "full" else QUICK
    if budget == "full" and is_own(task):
        defaults = _for_own_data(task, settings.get("checkpoints", ()))
    plan = Plan(task, **{**defaults, **settings})
    if not plan.checkpoints:
        shipped = shipped_of(task)
        if budget == "quick":
            shipped = shipped[:2]
        sizes = {f"{name}-h{hidden}" for name in shipped for hidden in plan.hidden}
        shipped += tuple(name for name in zoo.names() if name in sizes)
        plan = replace(plan, checkpoints=shipped or ("seed0",))
    return _other_sizes(plan, given="hidden" in settings)


def _other_sizes(plan: Plan, given: bool) -> Plan:
    """The plan without the hidden size of its first checkpoint among the further ones, where it
    was not `given`; a float network of that size would be a checkpoint twice."""
    first = plan.checkpoints[0]
    if re.fullmatch(r"seed\d+", first):
        return plan
    trained_size = zoo.load(first).hidden_size()
    if trained_size not in plan.hidden:
        return plan
    if given:
        raise InputError(
            f"hidden {trained_size}: {shown(first)} has as many units; give other sizes"
        )
    return replace(plan, hidden=tuple(size for size in plan.hidden if size != trained_size))


def _for_own_data(task: str, checkpoints: Sequence[str]) -> dict[str, Any]:
    """The plan for one's own data: hidden sizes of three quarters and a half of the reference's,
    and epochs by the number of updates, so that it takes hours and not weeks whatever the size."""
    files = [name for name in checkpoints if not re.fullmatch(r"seed\d+", name)]
    hidden = zoo.load(files[0]).hidden_size() if files else Recipe.hidden
    count = len(load_task(task).x_train)
    batch = batch_for(count)
    return {
        "hidden": tuple(dict.fromkeys(h for h in (hidden * 3 // 4, hidden // 2) if h > 1)),
        "epochs": epochs_for(count, batch, OWN_UPDATES, (2, 60)),
        "any_epochs": epochs_for(count, batch, OWN_UPDATES, (2, 30)),
        "trained": 4,
    }


def shipped_of(task: str) -> tuple[str, ...]:
    """Names of the shipped checkpoints of a task: the default one, and its further seeds."""
    names = zoo.names()
    if task not in names:
        return ()
    return (task, *(name for name in names if re.fullmatch(rf"{task}-seed\d+", name)))


def by_hand(genome: Genome, knobs: Any) -> bool:
    """Whether a network is one of the mixed :data:`BASELINES`, which need no search."""
    mixed = [name for name, (weights, rest) in BASELINES.items() if weights != rest]
    counts = len(genome.layers), len(genome.dense)
    return not knobs and genome.genes in [scheme_genome(name, *counts).genes for name in mixed]


def scheme_genome(scheme: str, layers: int, dense: int = 0) -> Genome:
    """The genome of one of :data:`BASELINES`, for so many GRU and dense layers."""
    weights, rest = BASELINES[scheme]
    return Genome(((weights,) * 6 + (rest,) * 11,) * layers, ((weights, rest),) * dense)


assert {f.name for f in fields(Plan)} >= set(QUICK)

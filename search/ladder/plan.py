"""What a search within a budget is a function of, and what it refuses before any work."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...model.data.folds import check_folds
from ...model.data.tasks import Task
from ...model.errors import InputError, each_once, shown
from ...model.genome import Genome
from ...model.knobs import Knobs
from ...model.qat.layer_pass import LONG
from ...synth.targets.prices import UNITS, limits
from ..genomes.evaluate import Setting, load
from .price import FPGA_COST, TARGET, costs_of

#: Epochs of a full training, at most and at least; what a budget allows lies between.
#: Twice the epochs won back 0.9 points of validation at 3 to 4 bits, more than any other idea.
EPOCHS = (4, 80)
#: Epochs of a training from inherited weights, as a share of a full one; and the updates of the
#: weights that it has at least: with 60 of them, in 2 epochs of digits-row, no narrower network
#: came within half a point, and a further training of the same one changed its loss by chance.
SHORT, SHORT_UPDATES = 0.25, 180
#: Learning rate of a training from inherited weights, as a share of a full one's, whose rate takes
#: networks that are nearly right too far away to come back in so few updates: INT5 of kws4 lost 2.2
#: points with it and 0.1 with this, mnist-row's INT4 0.9 and 0.5 (``docs/results/inherited.md``).
#: Sequences that have a fifth of it anyway (:data:`~genogate.model.qat.trainer.LONG_RATE`) have all
#: of that: of mnist-pixel14 INT6 and INT5 lost as much with two fifths of it, INT4 9.3 in place of
#: 7.5 points, and whole searches ended dearer (``docs/results/race.md``).
SHORT_RATE = 0.4
#: Standard errors of the difference to INT8 that a network must have to spare. Of many networks
#: that one validation part judges, the one that is chosen is likely to have been lucky there.
SPARE = 1.0
#: More of them leave hardly any network but INT8.
MOST_SPARE = 5
#: Epochs of a training that a look at a network usually takes: 0.1 to 0.3 were measured.
LOOK = 0.2
#: Full trainings that a budget is divided into to find their epochs, and the least that make sense:
#: INT8 that all is relative to, and a network to compare with it.
TRAININGS, LEAST = 16, 3


@dataclass(frozen=True)
class Plan:
    """All that a search within a budget depends on, besides the data.

    checkpoints : float networks of one task and split by name or file, of different sizes; INT8 of
        the first, trained, is what accuracy is relative to
    target : the part whose figures are costs
    cost : of :func:`.price.costs_of`, to be made small
    drop : points of accuracy that may be lost; hundredths of the task's score, so of a denoiser dB
    budget : CPU seconds over all processes
    sequences : of the training part, evenly spread, that networks are trained on; None: all
    shares : what hardware may share, of which a network's price takes the best
        (:class:`.price.Sharing`); none: as the knobs say
    spare : standard errors of the loss that must fit below `drop` too (:mod:`.marks`)
    limits : cost and greatest value of it
    epochs : of a full training; None: as many as suit the budget
    starts : genomes that are trained first, besides those that are computed
    knobs : of every network, besides those that are genes here: input and classifier bits
    folds : parts that training and validation part are cut into, of which each judges networks that
        were trained on the others (:mod:`.folds`); 0: the validation part judges
    floats : folder of the folds' float networks; None: in the search's own
    pace : CPU seconds that an epoch counts as, over all folds, by checkpoint: a search is then the
        same however busy the machine is; none: those that it takes
    look : epochs of a training that a look at a network counts as, where there is a pace
    floats_pace : CPU seconds that all float networks of folds count as; None: those that they took
    fewer : whether networks may have fewer units than their checkpoint (:mod:`.rungs`)
    confirm : whether what is chosen is trained once more before, within the budget
        (:mod:`.confirm`)
    """

    checkpoints: tuple[str, ...]
    cost: str = "um2"
    target: str = TARGET
    drop: float = 0.5
    budget: float = 3600.0
    limits: tuple[tuple[str, float], ...] = ()
    seed: int = 0
    epochs: int | None = None
    starts: tuple[Genome, ...] = ()
    knobs: Knobs = field(default_factory=lambda: Knobs(activation="table"))
    sequences: int | None = None
    shares: tuple[str, ...] = ()
    spare: float = SPARE
    folds: int = 0
    floats: str | None = None
    pace: tuple[float, ...] = ()
    look: float = LOOK
    floats_pace: float | None = None
    fewer: bool = True
    confirm: bool = False

    def __post_init__(self) -> None:
        if not self.checkpoints:
            raise InputError("checkpoints: one or more are needed")
        each_once("checkpoints", self.checkpoints)
        for name in (self.cost, *(name for name, _ in self.limits)):
            if name not in (costs := costs_of(self.target)):
                raise InputError(f"cost {shown(name)}: {', '.join(costs)} are known")
        check_drop(self.drop)
        check_spare(self.spare)
        if self.folds:
            check_folds(self.folds)
        if not self.budget > 0:
            raise InputError(f"budget: {shown(self.budget)} is not above 0")


def check_drop(drop: float) -> None:
    """Raises :class:`InputError` unless so many points of accuracy may be lost."""
    if not 0 <= drop <= 100:
        raise InputError(f"max-drop: {shown(drop)} is not from 0 to 100 points")


def check_spare(spare: float) -> None:
    """Raises :class:`InputError` unless so many standard errors may be asked for."""
    if not 0 <= spare <= MOST_SPARE:
        raise InputError(
            f"spare: {shown(spare)} is not from 0 to {MOST_SPARE} standard errors; 1 is usual"
        )


def terms_of(
    target: str = TARGET, most: Mapping[str, float] | None = None, cost: str | None = None
) -> dict[str, Any]:
    """Fields of a :class:`Plan` that follow from the part: target, cost, and limits, which are the
    resources of an FPGA and those of `most`, by cost; of two for one cost the lower.

    cost : what is made small; None: area, or LUTs of an FPGA

    Raises :class:`InputError` for a limit of what networks for the part have no figure of.
    """
    costs = costs_of(target)
    bounds: dict[str, float] = {} if target == TARGET else dict(limits(target))
    for name, value in (most or {}).items():
        if name not in costs:
            raise InputError(
                f"max-{name}: target {target} has {', '.join(costs)}; give another --target"
            )
        if not value > 0:
            raise InputError(f"max-{name}: {value:g} is not above 0; give more, or leave it out")
        bounds[name] = min(value, bounds.get(name, value))
    usual = next(iter(costs)) if target == TARGET else FPGA_COST
    return {"target": target, "cost": cost or usual, "limits": tuple(bounds.items())}


def check_validation(plan: Plan) -> str:
    """What the validation part can tell, as a sentence. Raises :class:`InputError` where it cannot
    tell the points of accuracy that may be lost."""
    material = load(Setting(plan.checkpoints[0], plan.knobs, False))
    return told_by(material.task, material.y_shifted, plan.drop, plan.folds)


def told_by(task: Task, y_shifted: np.ndarray, drop: float, folds: int = 0) -> str:
    """The same of a task that is judged by its validation part with shifted copies, `y_shifted`, or
    by folds."""
    if task.own_measure or task.real:
        if folds:
            count = len(task.y_train) + len(task.y_val)
            return f"the {count:,} sequences of {folds} folds, by {task.measure}"
        return f"the {len(task.y_val):,} sequences of the validation part, by {task.measure}"

    def answers(y: np.ndarray) -> int:
        # Every step that counts is one.
        return int((np.asarray(y) >= 0).sum()) if task.every else len(y)

    one = "step" if task.every else "sequence"
    if folds:
        count = answers(task.y_train) + answers(task.y_val)
        return telling(task.name, count, count, drop, one, folds)
    return telling(task.name, answers(task.y_val), answers(y_shifted), drop, one)


def telling(
    task: str, sequences: int, judged: int, drop: float, one: str = "sequence", folds: int = 0
) -> str:
    """The same for a validation part of so many sequences (or `one` of what is judged), judged with
    its copies, or for so many in folds."""
    step = 100 / judged
    if step > drop:
        which, more = f"validation {one}s", "--folds to judge by the training part too, or "
        if folds:
            which, more = f"{one}s in {folds} folds", "or "
        raise InputError(
            f"{task}: one of its {judged} {which} is {step:.1f} points, so it cannot tell the "
            f"{drop:g} that may be lost: give --max-drop {np.ceil(10 * step) / 10:g} or more, "
            f"{more}more {'data' if folds else 'validation data'}"
        )
    # Of a difference of two networks that disagree on one sequence in twenty.
    error = 100 * np.sqrt(0.05 / sequences)
    if folds:
        return (
            f"{sequences:,} {one}s in {folds} folds, each judged by a network that was trained "
            f"on the others: two that differ on one in twenty are told apart to about {error:.1f} "
            "points (one standard error)"
        )
    copies = f" and {judged - sequences:,} shifted copies" if judged > sequences else ""
    return (
        f"{sequences:,} validation {one}s{copies}: two networks that differ on one {one} in "
        f"twenty are told apart to about {error:.1f} points (one standard error)"
        + ("; --folds 4 would judge by the training part too" if error > drop else "")
    )


def check_limits(plan: Plan, least: Mapping[str, float]) -> None:
    """Raises :class:`InputError` for a limit that no network can keep.

    least : costs of the network of fewest bits and units
    """
    fewest = "fewest bits and units" if plan.fewer else "fewest bits"
    for name, greatest in plan.limits:
        if least[name] > greatest:
            if plan.target != TARGET and limits(plan.target).get(name) == greatest:
                raise InputError(
                    f"target {plan.target}: it has {greatest:,.0f} {UNITS[name]}, and the network "
                    f"of {fewest} takes {least[name]:,.0f}: give another --target, or a "
                    "network of fewer units"
                )
            raise InputError(
                f"max-{name}: {greatest:g} is below the {least[name]:,.0f} of the network of "
                f"{fewest}: give more, or a network of fewer units"
            )


def short_epochs(full: int, updates: int) -> int:
    """Epochs of a training from inherited weights, where a full one has `full` epochs of so many
    updates."""
    return min(full, max(1, round(SHORT * full), math.ceil(SHORT_UPDATES / updates)))


def short_rate(steps: int) -> float:
    """Share of a full training's learning rate that one from inherited weights has, for sequences
    of so many steps."""
    return 1.0 if steps > LONG else SHORT_RATE


def epochs_within(
    plan: Plan,
    seconds_of_epoch: float,
    batches_name: str,
    float_seconds: float = 0.0,
    updates: int = SHORT_UPDATES,
) -> tuple[int, int]:
    """Epochs of a full and of a short training. Raises :class:`InputError` for a budget that no
    comparison fits into.

    seconds_of_epoch : CPU seconds, measured here, over all folds
    float_seconds : CPU seconds of the budget that the float networks of folds took
    updates : of the weights in an epoch
    """
    low, high = EPOCHS
    left = plan.budget - float_seconds
    full = plan.epochs or int(np.clip(left / (TRAININGS * seconds_of_epoch), low, high))
    need = LEAST * full * seconds_of_epoch
    if need > left:
        floats = ""
        if float_seconds:
            floats = f"{float_seconds / 60:.3g} of them went to the folds' float networks, and "
        raise InputError(
            f"budget: {plan.budget / 60:.3g} CPU minutes are too few: {floats}{LEAST} trainings of "
            f"{batches_name} take {need / 60:.3g} here: give --budget "
            f"{max(1, int(np.ceil((float_seconds + need) / 60)))}m or more"
        )
    return full, short_epochs(full, updates)


def as_record(plan: Plan) -> dict[str, Any]:
    """What a folder remembers of a plan: all but the budget, which may grow."""
    return {
        "cost": plan.cost,
        **({} if plan.target == TARGET else {"target": plan.target}),
        "drop": plan.drop,
        "spare": plan.spare,
        **({} if not plan.shares else {"shares": list(plan.shares)}),
        **({} if plan.sequences is None else {"sequences": plan.sequences}),
        **({} if not plan.folds else {"folds": plan.folds}),
        # A search of before there was a choice had none.
        **({"units": "gene"} if plan.fewer else {}),
        **({"confirm": True} if plan.confirm else {}),
        "limits": [list(limit) for limit in plan.limits],
        "seed": plan.seed,
        "epochs": plan.epochs,
        "starts": [list(genome.genes) for genome in plan.starts],
        "knobs": plan.knobs.identity,
        "checkpoints": [
            load(Setting(name, plan.knobs, False)).checkpoint_hash for name in plan.checkpoints
        ],
    }

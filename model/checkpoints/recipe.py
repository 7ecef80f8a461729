"""How a float network is trained: the recipe, and its defaults by task and by size of the data."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.folds import whole_of
from ..data.tasks import Task, is_own
from ..errors import InputError, index_within, number_within, shown
from ..genome import MAX_DENSE
from ..head import ACTIVATIONS, Head
from ..integer import MAX_SIZE
from .floating import PLACES


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults were chosen by validation accuracy on digits-row; those of other
    tasks are in :data:`RECIPES`.

    patience : epochs without a better validation accuracy after which training stops, and the best
        epoch is kept; 0: all epochs are done and the last is kept
    start : name of a shipped checkpoint or a file, of the same sizes and of any task, whose weights
        training starts from; empty: weights drawn with the seed
    slower : how many times more slowly the state of `start` shall move: the bias of z grows by the
        natural logarithm of it, since 1 - sigmoid(a) is nearly exp(-a). For sequences whose steps
        are that many times as fine as those that `start` was trained on
    augment : of one's own data, the random changes that keep a sequence's class
        (:func:`~genogate.model.data.tasks.changing`)
    activation : of real answers, "none", "relu", "sigmoid" or "tanh"; empty: sigmoid where all
        targets are from 0 to 1, else none
    front, back : dense layers in front of and behind the GRU layers, ``FUNCTION:UNITS`` of each
        ("relu:24,none:8"); without ``:UNITS`` as many as a GRU layer has
    output : "logits" for a network that answers these in place of a class; empty: as the task asks
    initial_state : "learned" for states that sequences start with which are trained too, from zero
        on; empty: sequences start with zero
    """

    hidden: int = 32
    layers: int = 1
    epochs: int = 120
    seed: int = 0
    lr: float = 5e-3
    batch: int = 32
    weight_decay: float = 1e-2
    label_smoothing: float = 0.0
    patience: int = 0
    start: str = ""
    slower: float = 1.0
    augment: str = ""
    activation: str = ""
    output: str = ""
    front: str = ""
    back: str = ""
    initial_state: str = ""

    def __post_init__(self) -> None:
        limits = {"hidden": MAX_SIZE, "layers": 16, "epochs": 100_000, "batch": 1 << 20}
        for name, most in limits.items():
            index_within(name, getattr(self, name), 1, most)
        if not 0 < self.lr <= 1:
            raise InputError(f"lr: {self.lr} is not above 0 and at most 1")
        number_within("weight_decay", self.weight_decay, 0, 10)
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"label_smoothing: {self.label_smoothing} is not from 0 to below 1")
        index_within("patience", self.patience, 0, 100_000)
        number_within("slower", self.slower, 1, 1000)
        if self.slower != 1 and not self.start:
            raise InputError("slower: there is no checkpoint to start from: give --start too")
        if self.activation not in ("", *ACTIVATIONS):
            raise InputError(f"activation: {shown(self.activation)} is not one of {ACTIVATIONS}")
        if self.output not in ("", "logits"):
            raise InputError(f"output: {shown(self.output)} is not logits")
        if self.initial_state not in ("", "learned"):
            raise InputError(
                f"initial_state: {shown(self.initial_state)} is not learned, or left out for zero"
            )
        if (count := len(self.dense("front")) + len(self.dense("back"))) > MAX_DENSE:
            raise InputError(f"front, back: {count} dense layers, at most {MAX_DENSE} can be")

    def dense(self, place: str) -> list[tuple[str, int]]:
        """Function and units of every dense layer at `place`, "front" or "back"."""
        layers = []
        for part in filter(None, getattr(self, place).split(",")):
            function, _, units = (piece.strip() for piece in part.partition(":"))
            if function not in ACTIVATIONS or not re.fullmatch(r"[0-9]*", units):
                raise InputError(
                    f"{place}: {shown(part)} is not FUNCTION or FUNCTION:UNITS, of "
                    f"{', '.join(ACTIVATIONS)}"
                )
            size = int(units[:9]) if units else self.hidden
            index_within(f"{place}, units", size, 1, MAX_SIZE)
            layers.append((function, size))
        return layers

    def command(self, task: str) -> str:
        """The command line that trains the same network again."""
        text = (
            f"genogate train --task {task} --seed {self.seed} --hidden {self.hidden} "
            f"--layers {self.layers} --epochs {self.epochs} --lr {self.lr:g} "
            f"--batch {self.batch} --weight-decay {self.weight_decay:g}"
        )
        if self.label_smoothing:
            text += f" --label-smoothing {self.label_smoothing:g}"
        if self.start:
            text += f" --start {self.start}"
        if self.slower != 1:
            text += f" --slower {self.slower:g}"
        if self.augment:
            text += f" --augment {self.augment}"
        if self.activation:
            text += f" --activation {self.activation}"
        if self.output:
            text += f" --output {self.output}"
        for place in PLACES:
            if getattr(self, place):
                text += f" --{place} {getattr(self, place)}"
        if self.initial_state:
            text += f" --initial-state {self.initial_state}"
        return text + (f" --patience {self.patience}" if self.patience else "")


def head_for(task: Task, recipe: Recipe) -> Head:
    """The head of a network for `task`. Raises :class:`InputError` where they do not fit."""
    at = "every" if task.every else "last"
    if not task.real:
        if recipe.activation not in ("", "none"):
            raise InputError(
                f"activation: {recipe.activation} is for real targets, {task.name:.60} asks for "
                f"{task.asks}"
            )
        return Head(at, recipe.output or "class")
    if recipe.output:
        raise InputError(f"output: {task.name:.60} asks for {task.asks}, which leave as codes")
    low, high = float(np.nanmin(task.y_train)), float(np.nanmax(task.y_train))
    shares = low >= 0 and high <= 1
    activation = recipe.activation or ("sigmoid" if shares else "none")
    reach = {"relu": (0, np.inf), "sigmoid": (0, 1), "tanh": (-1, 1)}.get(activation)
    if reach and not (reach[0] <= low and high <= reach[1]):
        raise InputError(
            f"activation: {activation} answers from {reach[0]} to {reach[1]}, targets go from "
            f"{low:.4g} to {high:.4g}"
        )
    return Head(at, "codes", activation)


#: What differs from the defaults of :class:`Recipe`, by task.
_MNIST = {"hidden": 64, "epochs": 15, "lr": 3e-3, "batch": 128}
_KEYWORDS = {"hidden": 64, "epochs": 60, "batch": 64, "label_smoothing": 0.1}
RECIPES: dict[str, dict[str, Any]] = {
    "mnist-row": _MNIST,
    "mnist-pixel14": _MNIST,
    "mnist-pixel": _MNIST,
    "kws4": _KEYWORDS,
    "kws10": _KEYWORDS,
    "kws12": _KEYWORDS,
    "denoise": {"hidden": 64, "layers": 2, "epochs": 30, "lr": 4e-3, "batch": 32},
}
#: Updates of the weights that a training on one's own data aims at: as many as digits-row takes.
UPDATES = 4000
#: Least and most passes over one's own data.
EPOCHS = (3, 120)


def batch_for(sequences: int) -> int:
    """Sequences of a batch, for a training part of so many: few batches of a small one would be few
    updates, and small batches of a large one take long."""
    return 32 if sequences < 2500 else 64 if sequences < 6000 else 128


def epochs_for(sequences: int, batch: int, updates: int, limits: tuple[int, int]) -> int:
    """Passes over so many sequences that make about so many updates, within `limits`."""
    return int(np.clip(round(updates / -(-sequences // batch)), *limits))


def defaults_of(task: str) -> dict[str, Any]:
    """What the recipe of `task`, or of the task that it is a fold of, sets."""
    return RECIPES.get(whole_of(task), {})


def recipe_for(task: str, given: dict[str, Any], sequences: int | None = None) -> Recipe:
    """The recipe of `task`, with what `given` sets (None: not set). Raises :class:`InputError`.

    sequences : of the training part, by which batch and epochs for one's own data are chosen
    """
    settings = {name: value for name, value in given.items() if value is not None}
    defaults = defaults_of(task)
    if is_own(task) and sequences is not None:
        batch = settings.get("batch", batch_for(sequences))
        if isinstance(batch, int) and batch > 0:
            defaults = {"batch": batch, "epochs": epochs_for(sequences, batch, UPDATES, EPOCHS)}
    return Recipe(**{**defaults, **settings})

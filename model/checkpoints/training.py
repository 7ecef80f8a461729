"""Training of the float network in torch, deterministic by seed.

This module alone needs torch (the ``train`` extra), and imports it when a training starts.

One long file: recipe, batches and loop are one deterministic procedure, which goes on where it was
stopped.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import zoo
from ..data.measures import Score, at_last, filled, lengths_of
from ..data.tasks import Task, changing, is_own
from ..errors import InputError, index_within, number_within, shown
from ..files import read_tensors, write_tensors
from ..genome import MAX_DENSE
from ..head import ACTIVATIONS, Head
from ..integer import MAX_SIZE
from ..leftovers import scratch_of_process
from .floating import FUNCTIONS, PLACES, Checkpoint, accuracy, layer_names
from .provenance import UNSEEN, unseen_after

#: Called after every epoch with: epochs done, epochs in all, mean loss of the epoch.
Progress = Callable[[int, int, float], None]

STATE_KIND = "genogate-training-state"
#: Sequences that are judged together.
JUDGED = 500


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


def recipe_for(task: str, given: dict[str, Any], sequences: int | None = None) -> Recipe:
    """The recipe of `task`, with what `given` sets (None: not set). Raises :class:`InputError`.

    sequences : of the training part, by which batch and epochs for one's own data are chosen
    """
    settings = {name: value for name, value in given.items() if value is not None}
    defaults = RECIPES.get(task, {})
    if is_own(task) and sequences is not None:
        batch = settings.get("batch", batch_for(sequences))
        if isinstance(batch, int) and batch > 0:
            defaults = {"batch": batch, "epochs": epochs_for(sequences, batch, UPDATES, EPOCHS)}
    return Recipe(**{**defaults, **settings})


def import_torch() -> Any:
    """Torch with one thread per process. Raises :class:`InputError` where it is not installed."""
    # Its compiler's cache would stay in the folder for temporary files.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(scratch_of_process("torch")))
    try:
        import torch
    except ImportError:
        raise InputError(
            "training needs torch, which is not installed: pip install 'genogate[train]'"
        ) from None
    # Two threads on shared cores were 40 times slower than one; parallelise by process.
    torch.set_num_threads(1)
    if torch.get_num_interop_threads() != 1:
        # Can be set once, before the first parallel work; too late is only slower.
        with contextlib.suppress(RuntimeError):
            torch.set_num_interop_threads(1)
    return torch


def shifted(x: np.ndarray, most: tuple[int, int], draw: np.random.Generator) -> np.ndarray:
    """`x` [batch, steps, features], each sequence shifted at random, zeros moving in.

    `most` bounds the shift along steps and along features.
    """
    batch, steps, features = x.shape
    down, right = most
    padded = np.pad(x, ((0, 0), (down, down), (right, right)))
    top = draw.integers(0, 2 * down + 1, (batch, 1, 1)) + np.arange(steps)[:, None]
    left = draw.integers(0, 2 * right + 1, (batch, 1, 1)) + np.arange(features)
    return padded[np.arange(batch)[:, None, None], top, left]


def stretched(x: np.ndarray, most: float, draw: np.random.Generator) -> np.ndarray:
    """`x` [batch, steps, features], each sequence faster or slower by up to the share `most`.

    The first step stays where it is; past its end a slow reader meets the last step again.
    """
    batch, steps, _ = x.shape
    speed = np.exp2(draw.uniform(-np.log2(1 + most), np.log2(1 + most), (batch, 1)))
    position = np.minimum(np.arange(steps) * speed, steps - 1)
    below = np.minimum(position.astype(np.int64), steps - 2)
    share = (position - below).astype(np.float32)[..., None]
    row = np.arange(batch)[:, None]
    return x[row, below] * (1 - share) + x[row, below + 1] * share


def augmented(task: Task, index: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Training sequences `index` of `task`, changed at random in the ways that keep their class."""
    x = task.x_train[index]
    if task.stretch:
        x = stretched(x, task.stretch, draw)
    x = shifted(x, task.max_shift, draw)
    if task.offset:
        shape = (len(x), 1, x.shape[2])
        x = x + np.float32(task.offset) * draw.standard_normal(shape, np.float32)
    if task.noise:
        x = x + np.float32(task.noise) * draw.standard_normal(x.shape, np.float32)
    return x


@contextlib.contextmanager
def going_on_from(path: Path) -> Iterator[None]:
    """What reading a damaged state raises becomes one clear :class:`InputError`."""
    try:
        yield
    except (InputError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path}: not a state that training can go on from ({reason}): delete it to begin again"
        ) from None


def loss_of(torch: Any, head: Head, logits: Any, y: Any, smoothing: float = 0.0) -> Any:
    """Mean loss of real logits [batch, (steps,) outputs] with targets as a task has them, over what
    counts: cross entropy of classes; binary cross entropy behind a sigmoid; else squared error."""
    functional = torch.nn.functional
    if y.dtype == torch.int64:
        return functional.cross_entropy(
            logits.flatten(0, -2), y.flatten(), ignore_index=-1, label_smoothing=smoothing
        )
    counts = ~torch.isnan(y[..., 0])
    logits, y = logits[counts], y[counts].to(logits.dtype)
    if head.activation == "sigmoid":
        return functional.binary_cross_entropy_with_logits(logits, y)
    return functional.mse_loss(in_torch(torch, head.activation)(logits), y)


def in_torch(torch: Any, function: str) -> Callable[[Any], Any]:
    """A function of a head or of a dense layer, on tensors."""
    functions: dict[str, Callable[[Any], Any]] = {
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
    }
    return functions.get(function, lambda value: value)


class Descent:
    """Adam's or AdamW's moments and the learning rate's schedule, as a state holds them.

    values : what is trained, by the names in a state
    prefix : of the names of the values themselves
    """

    MOMENTS = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self, torch: Any, optimizer: Any, steps: int, values: Mapping[str, Any], prefix: str
    ) -> None:
        self.torch, self.optimizer, self.values, self.prefix = torch, optimizer, values, prefix
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def step(self) -> None:
        """One step of both."""
        self.optimizer.step()
        self.schedule.step()

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Tensors and document of the values, their moments and the schedule."""
        tensors = {f"{self.prefix}.{k}": v.detach().numpy() for k, v in self.values.items()}
        for key, value in self.values.items():
            for name, moment in self.optimizer.state.get(value, {}).items():
                tensors[f"{name}.{key}"] = moment.numpy()
        return tensors, {
            "steps": self.schedule.last_epoch,
            "lr": self.schedule.get_last_lr(),
        }

    def take(self, tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> None:
        """The other way."""
        with self.torch.no_grad():
            for key, value in self.values.items():
                value.copy_(self.torch.from_numpy(tensors[f"{self.prefix}.{key}"].copy()))
                if document["steps"]:
                    self.optimizer.state[value] = {
                        name: self.torch.from_numpy(tensors[f"{name}.{key}"].copy())
                        for name in self.MOMENTS
                    }
        self.schedule.last_epoch = document["steps"]
        rates, groups = document["lr"], self.optimizer.param_groups
        # One number, in states of before there could be several groups.
        self.schedule._last_lr = rates = rates if isinstance(rates, list) else [rates]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate


@dataclass
class _Place:
    """Where a training is: batches done of an epoch, its loss so far, the best epoch."""

    epoch: int = 0
    batch: int = 0
    total: float = 0.0
    best: float = -1.0
    best_epoch: int = 0


class _Training:
    """A network, its optimizer and the random numbers ahead: all that a training is."""

    def __init__(self, torch: Any, task: Task, recipe: Recipe) -> None:
        self.torch, self.task, self.recipe = torch, task, recipe
        self.head = head_for(task, recipe)
        torch.manual_seed(recipe.seed)
        self.draw = np.random.default_rng(recipe.seed)
        front, back = recipe.dense("front"), recipe.dense("back")
        inputs = front[-1][1] if front else task.features
        outputs = back[-1][1] if back else recipe.hidden
        self.gru = torch.nn.GRU(inputs, recipe.hidden, recipe.layers, batch_first=True)
        self.classifier = torch.nn.Linear(outputs, task.classes)
        #: Dense layers by name: function and module.
        self.dense: dict[str, tuple[str, Any]] = {}
        for place, layers, size in (("front", front, task.features), ("back", back, recipe.hidden)):
            for number, (function, units) in enumerate(layers):
                self.dense[f"{place}{number}"] = function, torch.nn.Linear(size, units)
                size = units
        self.start = zoo.load(recipe.start) if recipe.start else None
        if self.start is not None:
            self._begin_from(self.start)
        self.parameters = [*self.gru.parameters(), *self.classifier.parameters()]
        for _, module in self.dense.values():
            self.parameters += module.parameters()
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=recipe.lr, weight_decay=recipe.weight_decay
        )
        self.batches = -(-len(task.x_train) // recipe.batch)
        named = {str(k): value for k, value in enumerate(self.parameters)}
        steps = recipe.epochs * self.batches
        self.descent = Descent(torch, self.optimizer, steps, named, "weight")
        self.place = _Place()
        self.kept: dict[str, np.ndarray] = {}
        self.start_of_epoch = self.draw.bit_generator.state
        self.saved = time.monotonic()

    def _begin_from(self, start: Checkpoint) -> None:
        """Take the weights of `start`. Raises :class:`InputError` where they do not fit."""
        tensors, recipe = self.tensors(), self.recipe
        for name in sorted({*tensors, *start.tensors}):
            here, there = (
                list(part[name].shape) if name in part else [] for part in (tensors, start.tensors)
            )
            if here != there:
                raise InputError(
                    f"start: {recipe.start} has {name} {there}, this training {here}: "
                    f"the sizes, layers and classes of both must be equal"
                )
        parameters = {name: getattr(self.gru, name) for name in tensors if "." not in name}
        for name, module in self.modules.items():
            parameters |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
        with self.torch.no_grad():
            for name, value in parameters.items():
                value.copy_(self.torch.from_numpy(start.tensors[name].copy()))
            for k in range(recipe.layers):
                bias = getattr(self.gru, f"bias_ih_l{k}")
                bias[recipe.hidden : 2 * recipe.hidden] += float(np.log(recipe.slower))

    @property
    def key(self) -> str:
        """What a state belongs to: recipe, weights at the start, data, torch."""
        recipe = asdict(self.recipe)
        # States of before there was a choice can still be gone on with.
        for name in ("activation", "output", *PLACES):
            if not recipe[name]:
                del recipe[name]
        parts = [recipe, self.task.split_hash, str(self.torch.__version__)]
        if self.start is not None:
            parts.append(self.start.hash)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def tensors(self) -> dict[str, np.ndarray]:
        """The weights, by the names of a checkpoint."""
        tensors = {
            name: getattr(self.gru, name).detach().numpy().copy()
            for k in range(self.recipe.layers)
            for name in layer_names(k)
        }
        for name, module in self.modules.items():
            tensors[f"{name}.weight"] = module.weight.detach().numpy().copy()
            tensors[f"{name}.bias"] = module.bias.detach().numpy().copy()
        return tensors

    @property
    def modules(self) -> dict[str, Any]:
        """Linear modules by the names of a checkpoint."""
        dense = {name: module for name, (_, module) in self.dense.items()}
        return {**dense, "classifier": self.classifier}

    def through(self, place: str, value: Any) -> Any:
        """Outputs of the dense layers at `place`."""
        for name, (function, module) in self.dense.items():
            if name.startswith(place):
                value = in_torch(self.torch, function)(module(value))
        return value

    def save(self, path: Path) -> None:
        """Everything that is needed to go on as if nothing had happened."""
        tensors, clock = self.descent.state()
        tensors |= {f"kept.{name}": value for name, value in self.kept.items()}
        document = {
            "key": self.key,
            "place": asdict(self.place),
            **clock,
            "start_of_epoch": self.start_of_epoch,
            "draw": self.draw.bit_generator.state,
        }
        write_tensors(path, tensors, document, STATE_KIND)
        self.saved = time.monotonic()

    def resume(self, path: Path) -> bool:
        """Go on from a state that :meth:`save` left; False where there is none of this training."""
        if not path.exists():
            return False
        with going_on_from(path):
            tensors, document = read_tensors(path, STATE_KIND)
            if document["key"] != self.key:
                return False
            self.descent.take(tensors, document)
            self.kept = {name[5:]: value for name, value in tensors.items() if name[:5] == "kept."}
            self.place = _Place(**document["place"])
            self.start_of_epoch = document["start_of_epoch"]
            self.draw.bit_generator.state = document["draw"]
        return True

    def epoch(self, state: Path | None, every: float) -> float:
        """The rest of the epoch; returns its mean loss. Raises :class:`InputError` for a loss that
        is not a number."""
        place = self.place
        if place.batch == 0:
            self.start_of_epoch = self.draw.bit_generator.state
            order = self.draw.permutation(len(self.task.x_train))
        else:
            again = np.random.default_rng(0)
            again.bit_generator.state = self.start_of_epoch
            order = again.permutation(len(self.task.x_train))
        for index in np.array_split(order, self.batches)[place.batch :]:
            x = augmented(self.task, index, self.draw)
            y = self.torch.from_numpy(self.task.y_train[index])
            logits = self.logits(x)
            loss = loss_of(self.torch, self.head, logits, y, self.recipe.label_smoothing)
            value = loss.item()
            if not np.isfinite(value):
                raise InputError(
                    f"training diverged in epoch {place.epoch + 1} (the loss is {value}) at lr "
                    f"{self.recipe.lr:g}: give a smaller --lr"
                )
            self.optimizer.zero_grad()
            loss.backward()
            self.torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.descent.step()
            place.batch += 1
            place.total += value * len(index)
            if state is not None and time.monotonic() - self.saved >= every:
                self.save(state)
        mean = place.total / len(order)
        place.epoch, place.batch, place.total = place.epoch + 1, 0, 0.0
        return mean

    def logits(self, x: np.ndarray) -> Any:
        """Logits [batch, (steps,) classes] of sequences."""
        states = self.gru(self.through("front", self.torch.from_numpy(filled(x))))[0]
        states = states if self.head.every else at_last(states, lengths_of(x))
        return self.classifier(self.through("back", states))

    def validation(self) -> float:
        """Score on the validation part."""
        score, (x, y) = Score(), self.task.scored("val")
        with self.torch.no_grad():
            for start in range(0, len(x), JUDGED):
                logits = self.logits(x[start : start + JUDGED]).numpy()
                real = self.head.output == "codes"
                answers = FUNCTIONS[self.head.activation](logits) if real else logits.argmax(-1)
                score.add(answers, y[start : start + JUDGED])
        return score.value

    def stop_early(self) -> bool:
        """Keep the weights where the epoch was the best; True when patience has run out."""
        place, score = self.place, self.validation()
        if score > place.best:
            place.best, place.best_epoch, self.kept = score, place.epoch, self.tensors()
        return place.epoch - place.best_epoch >= self.recipe.patience


def train(
    task: Task,
    recipe: Recipe,
    progress: Progress | None = None,
    state: str | os.PathLike[str] | None = None,
    every: float = 20.0,
) -> Checkpoint:
    """Train a GRU and a linear classifier on the training part of `task`.

    Adam with decoupled weight decay, one cosine from `lr` to zero, gradient norm clipped to 1,
    random changes where the task allows them; the last epoch is kept and nothing is selected,
    unless the recipe has patience. The same task, recipe, machine and torch give the same bytes,
    also in pieces: about every `every` seconds the training leaves all that it needs in the file
    `state`, and a call with the same arguments goes on from there.

    Raises :class:`InputError` where torch is missing, the loss is no longer a number, `state` is
    damaged, or the checkpoint to start from is missing or of other sizes. A state of another
    training is overwritten.
    """
    torch = import_torch()
    path = None if state is None else Path(state)
    task = changing(task, recipe.augment)
    training = _Training(torch, task, recipe)
    if path is not None:
        training.resume(path)
    while training.place.epoch < recipe.epochs:
        loss = training.epoch(path, every)
        if progress is not None:
            progress(training.place.epoch, recipe.epochs, loss)
        if recipe.patience and training.stop_early():
            break
    tensors = training.kept or training.tensors()
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise InputError(f"training diverged at lr {recipe.lr:g}: give a smaller --lr")
    head: dict[str, Any] = {} if training.head.plain else {"head": training.head.to_json()}
    for place in PLACES:
        if layers := recipe.dense(place):
            head[place] = [function for function, _ in layers]
    checkpoint = Checkpoint(tensors, dict(head))
    scores = {part: round(accuracy(checkpoint, *task.scored(part)), 6) for part in ("train", "val")}
    info: dict[str, Any] = {
        **head,
        **({} if task.measure == "accuracy" else {"measure": task.measure}),
        "task": task.name,
        "split_seed": task.split_seed,
        "split_hash": task.split_hash,
        "seed": recipe.seed,
        "command": recipe.command(task.name),
        "accuracy": scores,
        "batch": recipe.batch,
        **({"augment": recipe.augment} if recipe.augment else {}),
        UNSEEN: unseen_after(task, [] if training.start is None else [training.start]),
        "torch": str(torch.__version__),
    }
    if training.start is not None:
        info["started_from"] = {"checkpoint": recipe.start, "hash": training.start.hash}
    if recipe.patience:
        info["epochs_done"], info["best_epoch"] = training.place.epoch, training.place.best_epoch
    if task.notes:
        info["preprocessing"] = task.notes
    return Checkpoint(tensors, info)

"""Training of the float network in torch, deterministic by seed.

Needs torch (the ``train`` extra), imported when a training starts. What it does between two saved
states is one deterministic procedure, which goes on where it was stopped.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import zoo
from ..data.measures import Score, at_last, filled, lengths_of
from ..data.tasks import Task, changing
from ..errors import InputError
from ..files import read_tensors, write_tensors
from .augmentation import augmented
from .descent import Descent, going_on_from, import_torch, in_torch, loss_of
from .floating import FUNCTIONS, PLACES, Checkpoint, accuracy, layer_names
from .provenance import UNSEEN, unseen_after
from .recipe import Recipe, head_for

#: Called after every epoch with: epochs done, epochs in all, mean loss of the epoch.
Progress = Callable[[int, int, float], None]
STATE_KIND = "genogate-training-state"
#: Sequences that are judged together.
JUDGED = 500


def _states(layers: int) -> list[str]:
    """Names of the states that sequences start with."""
    return [f"initial_state_l{k}" for k in range(layers)]


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
        #: States that sequences start with by name, [H] of each layer; empty: zero.
        self.first: dict[str, Any] = {}
        if recipe.initial_state:
            for name in _states(recipe.layers):
                self.first[name] = torch.nn.Parameter(torch.zeros(recipe.hidden))
        self.start = zoo.load(recipe.start) if recipe.start else None
        if self.start is not None:
            self._begin_from(self.start)
        self.parameters = [*self.gru.parameters(), *self.classifier.parameters()]
        for _, module in self.dense.values():
            self.parameters += module.parameters()
        self.parameters += self.first.values()
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
        if (given := sorted({*start.tensors} & {*_states(recipe.layers)})) and not self.first:
            raise InputError(
                f"start: {recipe.start} has {given[0]}, a state that sequences start with: add "
                f"--initial-state learned"
            )
        for name in sorted({*tensors, *start.tensors}):
            if name in self.first and name not in start.tensors:
                # From zero, as the checkpoint has it.
                continue
            here, there = (
                list(part[name].shape) if name in part else [] for part in (tensors, start.tensors)
            )
            if here != there:
                raise InputError(
                    f"start: {recipe.start} has {name} {there}, this training {here}: "
                    f"the sizes, layers and classes of both must be equal"
                )
        parameters = {
            name: getattr(self.gru, name) for k in range(recipe.layers) for name in layer_names(k)
        }
        parameters |= {name: self.first[name] for name in self.first if name in start.tensors}
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
        for name in ("activation", "output", *PLACES, "initial_state"):
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
        for name, value in self.first.items():
            tensors[name] = value.detach().numpy().copy()
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
        value = self.through("front", self.torch.from_numpy(filled(x)))
        first = None
        if self.first:
            rows = self.torch.stack([*self.first.values()])
            first = rows[:, None].expand(-1, len(x), -1).contiguous()
        states = self.gru(value, first)[0]
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


def _finite(tensors: dict[str, np.ndarray], recipe: Recipe) -> dict[str, np.ndarray]:
    """The tensors as they are. Raises :class:`InputError` for a training that diverged."""
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise InputError(f"training diverged at lr {recipe.lr:g}: give a smaller --lr")
    return tensors


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
    tensors = _finite(training.kept or training.tensors(), recipe)
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

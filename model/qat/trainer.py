"""Epochs, their state in a file, and the loss: for one genome or for many.

What differs between the two is said by the methods that a subclass overrides.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints.augmentation import augmented
from ..checkpoints.descent import Descent, going_on_from, import_torch, in_torch, loss_of
from ..checkpoints.floating import Checkpoint
from ..checkpoints.recipe import batch_for, defaults_of
from ..data.measures import filled, lengths_of
from ..data.tasks import Task, changing, is_own
from ..errors import InputError
from ..files import read_tensors, write_tensors
from .layer_pass import LONG
from .network import Network
from .recipe import Tuning
from .structure import Structure, is_scale
from .teacher import Teacher

#: Called after every epoch with: epochs done, epochs in all, mean loss, validation accuracy.
Progress = Callable[[int, int, float, float], None]
STATE_KIND = "genogate-tuning-state"
#: Halvings of weight width for which the learning rate doubles: at 2 bits it is 4 times as high.
RATE_BITS = 3.0
#: Learning rates of longer sequences against those of shorter ones: with 2-bit weights and 3 epochs
#: of 8,000 sequences, mnist-pixel14 reaches 58 % on validation at the same rate, 97 % at this.
LONG_RATE = 0.2


def trained_with(checkpoint: Checkpoint, name: str, kind: type) -> Any:
    """What a checkpoint says of how it was trained; None where it does not say it."""
    value = checkpoint.info.get(name)
    return value if type(value) is kind and value else None


def batch_of(task: Task, checkpoint: Checkpoint) -> int:
    """Sequences of a batch, where no recipe says it: as the float training had it, or as data of so
    many sequences, or the task, usually has."""
    usual = defaults_of(task.name).get("batch", 32)
    if is_own(task.name):
        usual = batch_for(len(task.x_train))
    return int(trained_with(checkpoint, "batch", int) or usual)


class Trainer:
    """Latent weights, their optimizer and the best of them so far.

    checkpoint : where the weights start, and the teacher unless it is another
    """

    taught_by: str | None = None

    def __init__(self, task: Task, checkpoint: Checkpoint, recipe: Tuning) -> None:
        self.torch = torch = import_torch()
        self.task, self.checkpoint, self.recipe = task, checkpoint, recipe
        self.network, self.teacher = Network(torch), Teacher(torch, checkpoint)
        self.latents = {
            name: torch.nn.Parameter(torch.from_numpy(value.copy()))
            for name, value in checkpoint.tensors.items()
            if recipe.initial_state != "fixed" or not name.startswith("initial_state")
        }
        if recipe.initial_state == "learned":
            for number in range(checkpoint.layers):
                zero = torch.from_numpy(checkpoint.initial_state(number).copy())
                self.latents.setdefault(f"initial_state_l{number}", torch.nn.Parameter(zero))
        defaults = defaults_of(task.name)
        self.smoothing = defaults.get("label_smoothing", 0.0)
        self.batch = recipe.batch or batch_of(task, checkpoint)
        self.batches = -(-len(task.x_train) // self.batch)
        # As the float training had it.
        self.task = changing(task, trained_with(checkpoint, "augment", str) or "")
        self.epoch = self.best_epoch = 0
        self.best: tuple[float, float] = (-1.0, 0.0)
        self.kept: dict[str, np.ndarray] = self.tensors()

    def prepare(self) -> None:
        """The optimizer, when all that is trained is there."""
        torch = self.torch
        groups: dict[float, list[Any]] = {}
        for name, value in self.latents.items():
            groups.setdefault(self.rate(name), []).append(value)
        steps = self.recipe.epochs * self.batches
        lr = self.recipe.lr * (LONG_RATE if self.task.steps > LONG else 1)
        self.optimizer = torch.optim.Adam(
            [{"params": values, "lr": lr * rate} for rate, values in groups.items()]
        )
        self.descent = Descent(torch, self.optimizer, steps, self.latents, "latent")

    def learn_from(self, teacher: Checkpoint) -> None:
        """Have another teacher."""
        self.teacher, self.taught_by = Teacher(self.torch, teacher), teacher.hash

    # What differs between one genome and many.

    #: The first epoch after which weights may be kept.
    first = 1

    def rate(self, name: str) -> float:
        """Learning rate of a latent against the recipe's."""
        return 1.0

    def before_epoch(self) -> None:
        """What an epoch begins with."""

    def structures(self, draw: np.random.Generator) -> Sequence[Structure]:
        """The networks that the next batch is computed by; the mean of their losses counts."""
        raise NotImplementedError

    def judge(self) -> tuple[float, float]:
        """Accuracy on the validation part, and what decides between equal ones (greatest)."""
        raise NotImplementedError

    def settle(self) -> None:
        """After a step."""

    def extra(self) -> dict[str, np.ndarray]:
        """What a state must hold besides the weights."""
        return {}

    def take_extra(self, tensors: Mapping[str, np.ndarray]) -> None:
        """The other way."""

    @property
    def about(self) -> list[Any]:
        """JSON-able: what a state must have been made for to be gone on with."""
        recipe = asdict(self.recipe)
        if recipe["keep"] == type(self.recipe).keep:
            # States of before there was a choice can still be gone on with.
            del recipe["keep"]
        if not recipe["initial_state"]:
            del recipe["initial_state"]
        return [
            recipe,
            self.checkpoint.hash,
            self.task.split_hash,
            str(self.torch.__version__),
            *filter(None, [self.taught_by]),
        ]

    def tensors(self) -> dict[str, np.ndarray]:
        """The latent weights."""
        return {name: value.detach().numpy().copy() for name, value in self.latents.items()}

    def loss(self, structure: Structure, x: np.ndarray, y: Any, taught: Any) -> Any:
        """Cross entropy, and the distance to the teacher's softened answers."""
        codes = structure.input_codes(filled(x))
        logits = self.network.real_logits(structure, self.latents, codes, lengths_of(x))
        return self.loss_of(logits, y, taught)

    def loss_of(self, logits: Any, y: Any, taught: Any) -> Any:
        """The same of logits in real units."""
        recipe, torch = self.recipe, self.torch
        head, functional = self.checkpoint.head, torch.nn.functional
        loss = loss_of(torch, head, logits, y, self.smoothing)
        if taught is None:
            return loss
        if head.output == "codes":
            # The teacher's answers are targets; none where the task has none.
            given = in_torch(torch, head.activation)(taught)
            given = torch.where(torch.isnan(y), torch.nan, given)
            return (1 - recipe.distil) * loss + recipe.distil * loss_of(torch, head, logits, given)
        wide = recipe.temperature
        if head.every:
            counts = y.flatten() >= 0
            logits, taught = (v.flatten(0, -2)[counts] for v in (logits, taught))
        distance = functional.kl_div(
            functional.log_softmax(logits / wide, 1),
            functional.log_softmax(taught / wide, 1),
            log_target=True,
            reduction="batchmean",
        )
        return (1 - recipe.distil) * loss + recipe.distil * wide**2 * distance

    def check(self, name: str, value: float) -> None:
        """Raises :class:`InputError` for a value that is not a number."""
        if not np.isfinite(value):
            raise InputError(
                f"training diverged in epoch {self.epoch + 1} (the {name} is {value}) at lr "
                f"{self.recipe.lr:g}: give a smaller --lr"
            )

    def one_epoch(self) -> float:
        """Train on every sequence once; the mean loss. Raises :class:`InputError` for a loss that
        is not a number."""
        task, torch = self.task, self.torch
        # By epoch, so that a training that goes on draws what it would have drawn.
        draw = np.random.default_rng([self.recipe.seed, self.epoch])
        total = 0.0
        for index in np.array_split(draw.permutation(len(task.x_train)), self.batches):
            x = augmented(task, index, draw)
            y = torch.from_numpy(task.y_train[index])
            taught = self.teacher(x) if self.recipe.distil else None
            self.optimizer.zero_grad()
            structures = self.structures(draw)
            for structure in structures:
                loss = self.loss(structure, x, y, taught) / len(structures)
                self.check("loss", value := loss.item())
                loss.backward()
                total += value * len(index)
            weights = [value for name, value in self.latents.items() if not is_scale(name)]
            norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
            self.check("gradient", float(norm))
            self.descent.step()
            self.settle()
        self.epoch += 1
        return total / len(task.x_train)

    def run(self, progress: Progress | None, state: str | os.PathLike[str] | None) -> None:
        """All epochs; afterwards :attr:`kept` are the best weights."""
        path = None if state is None else Path(state)
        self.prepare()
        if path is not None:
            self._resume(path)
        while self.epoch < self.recipe.epochs:
            self.before_epoch()
            loss = self.one_epoch()
            score = self.judge()
            better = score > self.best or self.recipe.keep == "last"
            if self.epoch >= self.first and better:
                self.best, self.best_epoch, self.kept = score, self.epoch, self.tensors()
            if path is not None:
                self._save(path)
            if progress is not None:
                progress(self.epoch, self.recipe.epochs, loss, score[0])
            since = self.epoch - max(self.best_epoch, self.first - 1)
            if self.recipe.patience and since >= self.recipe.patience:
                break

    @property
    def _key(self) -> str:
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()

    def _save(self, path: Path) -> None:
        tensors, clock = self.descent.state()
        tensors |= {f"kept.{name}": value for name, value in self.kept.items()} | self.extra()
        write_tensors(
            path,
            tensors,
            {
                "key": self._key,
                "epoch": self.epoch,
                "best": self.best,
                "best_epoch": self.best_epoch,
                **clock,
            },
            STATE_KIND,
        )

    def _resume(self, path: Path) -> None:
        if not path.exists():
            return
        with going_on_from(path):
            tensors, document = read_tensors(path, STATE_KIND)
            if document["key"] != self._key:
                return
            self.descent.take(tensors, document)
            self.kept = {name[5:]: v for name, v in tensors.items() if name.startswith("kept.")}
            self.take_extra(tensors)
            self.epoch, self.best_epoch = document["epoch"], document["best_epoch"]
            self.best = tuple(document["best"])

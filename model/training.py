"""Training of the float network in torch, deterministic by seed.

This module alone needs torch (the ``train`` extra), and imports it when a training starts.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import InputError
from .floating import Checkpoint, accuracy, layer_names
from .integer import MAX_SIZE
from .tasks import Task

#: Called after every epoch with: epochs done, epochs in all, mean loss of the epoch.
Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults were chosen by validation accuracy on digits-row."""

    hidden: int = 32
    layers: int = 1
    epochs: int = 120
    seed: int = 0
    lr: float = 5e-3
    batch: int = 32
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        limits = {"hidden": MAX_SIZE, "layers": 16, "epochs": 100_000, "batch": 1 << 20}
        for name, most in limits.items():
            if not 1 <= getattr(self, name) <= most:
                raise InputError(f"{name}: {getattr(self, name)} is not within 1 to {most}")
        if not 0 < self.lr <= 1:
            raise InputError(f"lr: {self.lr} is not above 0 and at most 1")
        if not 0 <= self.weight_decay <= 10:
            raise InputError(f"weight_decay: {self.weight_decay} is not within 0 to 10")

    def command(self, task: str) -> str:
        """The command line that trains the same network again."""
        return (
            f"genogate train --task {task} --seed {self.seed} --hidden {self.hidden} "
            f"--layers {self.layers} --epochs {self.epochs} --lr {self.lr:g} "
            f"--batch {self.batch} --weight-decay {self.weight_decay:g}"
        )


def import_torch() -> Any:
    """Torch with one thread per process. Raises :class:`InputError` where it is not installed."""
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


def train(task: Task, recipe: Recipe, progress: Progress | None = None) -> Checkpoint:
    """Train a GRU and a linear classifier on the training part of `task`.

    Adam with decoupled weight decay, one cosine from `lr` to zero, gradient norm clipped to 1,
    random shifts where the task allows them; the last epoch is kept and nothing is selected. The
    same task, recipe, machine and torch give the same bytes.
    """
    torch = import_torch()
    torch.manual_seed(recipe.seed)
    draw = np.random.default_rng(recipe.seed)
    gru = torch.nn.GRU(task.features, recipe.hidden, recipe.layers, batch_first=True)
    classifier = torch.nn.Linear(recipe.hidden, task.classes)
    parameters = [*gru.parameters(), *classifier.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    count = len(task.x_train)
    batches = -(-count // recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * batches)
    for epoch in range(recipe.epochs):
        order = draw.permutation(count)
        total = 0.0
        for index in np.array_split(order, batches):
            x = torch.from_numpy(shifted(task.x_train[index], task.max_shift, draw))
            y = torch.from_numpy(task.y_train[index])
            loss = torch.nn.functional.cross_entropy(classifier(gru(x)[0][:, -1]), y)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(index)
        if progress is not None:
            progress(epoch + 1, recipe.epochs, total / count)
    tensors = {name: getattr(gru, name).detach().numpy().copy()
               for k in range(recipe.layers) for name in layer_names(k)}  # fmt: skip
    tensors["classifier.weight"] = classifier.weight.detach().numpy().copy()
    tensors["classifier.bias"] = classifier.bias.detach().numpy().copy()
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise InputError(f"training diverged at lr {recipe.lr:g}: give a smaller --lr")
    checkpoint = Checkpoint(tensors)
    scores = {
        part: round(accuracy(checkpoint, getattr(task, f"x_{part}"), getattr(task, f"y_{part}")), 6)
        for part in ("train", "val", "test")
    }
    return Checkpoint(
        tensors,
        {
            "task": task.name,
            "split_seed": task.split_seed,
            "split_hash": task.split_hash,
            "seed": recipe.seed,
            "command": recipe.command(task.name),
            "accuracy": scores,
            "torch": str(torch.__version__),
        },
    )

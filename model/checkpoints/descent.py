"""What every training in torch shares: torch itself, losses, the optimizer's state in a file."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..head import Head
from ..leftovers import scratch_of_process


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

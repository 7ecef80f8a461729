"""A task: data cut into training, validation and test part, and what its answers are."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..head import Head
from .measures import MEASURES, lengths_of, unit_of

#: Calibration looks at so many time steps and no fewer than so many sequences: enough for
#: histograms and covariances, and it stays within a few seconds and some hundred megabytes.
CALIBRATION_STEPS, CALIBRATION_SEQUENCES = 28_000, 64


@dataclass(frozen=True)
class Task:
    """Sequences with a target each, or one at every step, in three parts.

    The validation part is for choices (calibration, selection, early stopping); no choice may see
    the test part, and only the test part is reported.

    Parameters
    ----------
    name : str
    split_seed : int
        What the parts were drawn with.
    x_train, x_val, x_test : float32 [sequences, steps, features]
        Shorter sequences end in NaN (:func:`~.measures.lengths_of`).
    y_train, y_val, y_test : int64 [sequences], 0 to ``classes - 1``
        At every step [sequences, steps], -1 where none counts; of real targets float32
        [sequences, classes] or [sequences, steps, classes], NaN where none counts.
    classes : int
        Classes, or real values of a target.
    max_shift : (int, int)
        Shifts by up to so many steps and features leave the class as it is (training may use it).
    stretch, noise, offset : float
        Likewise a change of speed by up to this share, normal noise of this deviation on every
        value, and one of this deviation on each feature of a whole sequence.
    notes : dict
        JSON-able: what was done to the raw data (constants that a device must apply as well).
    speakers : int64 [training + validation sequences], or None
        Who spoke, in this order; no fold shares anyone with another (:mod:`.folds`).
    own_measure, targets : str, function
        A measure of the task's own, and the
        :class:`~genogate.model.data.measures.ScoredTargets` of a part.
    """

    name: str
    split_seed: int
    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    max_shift: tuple[int, int] = (0, 0)
    stretch: float = 0.0
    noise: float = 0.0
    offset: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)
    own_measure: str = ""
    speakers: np.ndarray | None = None
    targets: Callable[[str], Any] | None = None

    def scored(self, part: str) -> tuple[np.ndarray, Any]:
        """Sequences of `part`, and what answers to them are scored by."""
        x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
        return x, (y if self.targets is None else self.targets(part))

    @property
    def label(self) -> str:
        """The name as a folder may be called."""
        return re.sub(r"[^A-Za-z0-9-]+", "-", Path(self.name).stem).strip("-")[:60] or "task"

    @property
    def x_calibration(self) -> np.ndarray:
        """Sequences of the training part, evenly spread over it, that calibration looks at."""
        count = max(CALIBRATION_STEPS // self.steps, CALIBRATION_SEQUENCES)
        if count >= len(self.x_train):
            return self.x_train
        return self.x_train[np.linspace(0, len(self.x_train) - 1, count).astype(np.int64)]

    @property
    def steps(self) -> int:
        """Steps of the longest sequence."""
        return self.x_test.shape[1]

    @property
    def real(self) -> bool:
        """Whether targets are real values, not classes."""
        return self.y_test.dtype.kind == "f"

    @property
    def every(self) -> bool:
        """Whether there is a target at every step."""
        return self.y_test.ndim == (3 if self.real else 2)

    @property
    def plain(self) -> bool:
        """Whether it is the usual one: a class for a sequence, all equally long."""
        parts = (self.x_train, self.x_val, self.x_test)
        return not (self.real or self.every or any(lengths_of(x) is not None for x in parts))

    @property
    def measure(self) -> str:
        """What :func:`~genogate.sim.golden.accuracy` is for this task."""
        return self.own_measure or MEASURES[not self.real, self.every]

    @property
    def unit(self) -> str:
        """What a hundredth of a score is: points, or dB."""
        return unit_of(self.measure)

    @property
    def asks(self) -> str:
        """What a network must answer, in words."""
        what = f"{self.classes} real values" if self.real else f"one of {self.classes} classes"
        return f"{what} at {'every' if self.every else 'the last'} step"

    def only_plain(self, what: str) -> None:
        """Raises :class:`InputError` where `what` cannot work with this task, being made for one
        class a sequence."""
        if not self.plain:
            lengths = "" if self.real or self.every else ", in sequences of different length"
            raise InputError(
                f"task {self.name:.60}: it asks for {self.asks}{lengths}; {what} is for one class "
                "a sequence and sequences of one length"
            )

    def check_head(self, head: Head) -> None:
        """Raises :class:`InputError` where a network with `head` cannot answer this task."""
        if (head.output == "codes", head.every) != (self.real, self.every):
            raise InputError(
                f"task {self.name:.60}: it asks for {self.asks}, the network answers {head}"
            )

    @property
    def features(self) -> int:
        return self.x_test.shape[2]

    @cached_property
    def split_hash(self) -> str:
        """SHA-256, 16 hex digits, over the three parts: equal only where every value is equal."""
        digest = hashlib.sha256()
        for name in ("train", "val", "test"):
            targets = "<f4" if self.real else "<i8"
            for part, kind in ((f"x_{name}", "<f4"), (f"y_{name}", targets)):
                array = getattr(self, part)
                digest.update(f"{part} {array.shape} ".encode())
                digest.update(np.ascontiguousarray(array.astype(kind, copy=False)).data)
        return digest.hexdigest()[:16]

"""What a network's answers are worth: the measure of a task, and sequences of different lengths.

A sequence that is shorter than the others ends in NaN; steps that do not count have the class -1
or the target NaN. So arrays say by themselves how long their sequences are.
"""

from typing import Any, Protocol

import numpy as np

#: Measures by (are targets classes, is there one at every step); greater is better, 1 is perfect.
MEASURES = {
    (True, False): "accuracy",
    (True, True): "frame accuracy",
    (False, False): "explained variance",
    (False, True): "explained variance",
}

#: The measure of a denoiser (:class:`~genogate.model.denoise.targets.SoundTargets`).
SI_SDR_GAIN = "SI-SDR gain"


class ScoredTargets(Protocol):
    """Targets with a measure of their own, sliced as an array."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: slice) -> Any: ...

    def scores(self, answers: np.ndarray) -> np.ndarray:
        """Score float64 [sequences] of real answers; greater is better, a hundredth is a point."""


def unit_of(measure: str) -> str:
    """Unit of a hundredth of a score: what ``--max-drop`` is given in."""
    return "dB" if measure == SI_SDR_GAIN else "points"


def score_text(measure: str, value: float) -> str:
    """A score as people read it: a share, or dB."""
    return f"{100 * value:.2f} dB" if measure == SI_SDR_GAIN else f"{value:.4f}"


def lengths_of(x: np.ndarray) -> np.ndarray | None:
    """Steps int64 [batch] of each of the sequences `x` [batch, steps, features]; None where none
    ends before the last step."""
    x = np.asarray(x)
    if x.dtype.kind != "f" or x.ndim != 3 or 0 in x.shape or not np.isnan(x[:, -1, 0]).any():
        return None
    return (~np.isnan(x[..., 0])).sum(1).astype(np.int64)


def filled(x: np.ndarray) -> np.ndarray:
    """`x` with zeros where sequences have ended."""
    x = np.asarray(x)
    return x if lengths_of(x) is None else np.nan_to_num(x, nan=0.0)


def at_last(value: Any, lengths: Any) -> Any:
    """Of `value` [batch, steps, ...], NumPy's or torch's, the last step of each sequence."""
    if lengths is None:
        return value[:, -1]
    return value[np.arange(len(value)), lengths - 1]


def sequence_scores(answers: np.ndarray, y: Any) -> np.ndarray:
    """What every sequence adds to :class:`Score`: float64 [sequences], whose mean is its value.

    Answers and targets of a whole part, as :meth:`Score.add` takes them.
    """
    if hasattr(y, "scores"):
        return np.asarray(y.scores(answers))
    y, answers = np.asarray(y), np.asarray(answers)
    rows = len(y)
    if y.dtype.kind in "iu":
        counts = y >= 0
        right = ((answers == y) & counts).reshape(rows, -1).sum(1)
        return right * (rows / max(1, int(counts.sum())))
    counts = ~np.isnan(y[..., 0])
    squares = np.where(counts, ((answers - y.astype(np.float64)) ** 2).sum(-1), 0.0)
    targets = y[counts].astype(np.float64)
    spread = float(((targets - targets.mean(0)) ** 2).sum())
    by_row = squares.reshape(rows, -1).sum(1)
    return 1.0 - by_row * rows / spread if spread > 0 else (by_row == 0).astype(np.float64)


class Score:
    """Adds up how good answers are, part after part.

    Classes: the share that is right. Real values: the explained variance, ``1 - sum of squared
    errors / sum of squared distances of the targets from their means``, over all outputs. Targets
    with a measure of their own (:class:`ScoredTargets`): its mean over the sequences.
    """

    def __init__(self) -> None:
        self.right = self.count = 0
        self.squares = 0.0
        self.sums: np.ndarray | float = 0.0
        self.powers: np.ndarray | float = 0.0
        self.real = False
        self.scores: list[np.ndarray] = []

    def add(self, answers: np.ndarray, y: Any) -> None:
        """`answers` and targets `y`, shaped alike: int64 classes, or real values [..., outputs]; or
        :class:`ScoredTargets`."""
        if hasattr(y, "scores"):
            self.scores.append(y.scores(answers))
            return
        y, answers = np.asarray(y), np.asarray(answers)
        if y.dtype.kind in "iu":
            counts = y >= 0
            self.right += int((answers == y)[counts].sum())
            self.count += int(counts.sum())
            return
        self.real = True
        counts = ~np.isnan(y[..., 0])
        targets, given = y[counts].astype(np.float64), answers[counts].astype(np.float64)
        self.squares += float(((given - targets) ** 2).sum())
        self.sums = self.sums + targets.sum(0)
        self.powers = self.powers + (targets**2).sum(0)
        self.count += len(targets)

    @property
    def value(self) -> float:
        """The score: at most 1."""
        if self.scores:
            return float(np.concatenate(self.scores).mean())
        if not self.real:
            return self.right / self.count if self.count else 0.0
        spread = float(np.sum(self.powers - self.sums**2 / max(1, self.count)))
        return 1.0 - self.squares / spread if spread > 0 else float(self.squares == 0)

    @property
    def mean_error(self) -> float | None:
        """Root mean square of the errors of real answers, in their unit; None where targets have a
        measure of their own."""
        if self.scores:
            return None
        outputs = np.size(self.sums) or 1
        return float(np.sqrt(self.squares / max(1, self.count * outputs)))

"""What a search evaluates, and how its results count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import numpy as np

from ...model.genome import Genome
from ...model.knobs import fields_of
from .evaluate import OBJECTIVES, Setting
from .pareto import Array

#: The useful region, over which hypervolume is taken: at most so much less accuracy than INT8, and
#: no more of anything else.
USEFUL_DROP = 0.10
#: What a candidate's knobs call one of the run's further checkpoints.
CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Candidate:
    """What is evaluated: a genome, and the knobs in which it differs from the setting's.

    knobs : name and value, in the order of :data:`KNOB_GENES`; at last, for one of the run's
        further checkpoints, :data:`CHECKPOINT` and its name
    """

    genome: Genome
    knobs: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        # A file may have any name.
        knobs = " ".join(f"{name}={quote(str(value))}" for name, value in self.knobs)
        return f"{self.genome} | {knobs}" if knobs else str(self.genome)

    @property
    def checkpoint(self) -> str | None:
        """Which of the run's further checkpoints it goes with; None for the setting's own."""
        name: str | None = dict(self.knobs).get(CHECKPOINT)
        return name

    def setting(self, base: Setting) -> Setting:
        """The setting that it is evaluated with."""
        if not self.knobs:
            return base
        changes = dict(self.knobs)
        checkpoint = changes.pop(CHECKPOINT, base.checkpoint)
        knobs = replace(base.knobs, **fields_of(changes))
        return replace(base, checkpoint=checkpoint, knobs=knobs)


@dataclass(frozen=True)
class Point:
    """A candidate and its results on the validation part.

    beacon : file of the checkpoint with which it is best, None for the setting's own
    """

    candidate: Candidate
    result: Mapping[str, Any]
    beacon: str | None = None

    @property
    def genome(self) -> Genome:
        return self.candidate.genome


def cost(objectives: Sequence[str], result: Mapping[str, Any], int8: Mapping[str, Any]) -> Array:
    """Objective values float64, all to be minimised: wrong classes, all else relative to INT8; NaN
    where a result lacks one."""
    return np.array(
        [
            # INT8 may take no block RAM at all.
            result.get(name, np.nan) / (int8[name] or 1)
            if OBJECTIVES[name][1]
            else 1 - result[name]
            for name in objectives
        ]
    )


def useful_region(objectives: Sequence[str], int8: Mapping[str, Any]) -> Array:
    """The far corner of the useful region, as :func:`cost` counts."""
    error = 1 - int8["accuracy"] + USEFUL_DROP
    return np.array([1.0 if OBJECTIVES[name][1] else error for name in objectives])

"""Post-training quantisation: a float checkpoint, a genome and knobs to an integer model.

Every combined scale ``M = S1 S2 / S3`` must be a number of few signed powers of two, so the scales
of the operators of a layer are linked. Five are chosen freely (the three pre-activation sums, r
and the state h'); every other scale follows from its neighbour through an allowed M, the one of
least calibrated error; the free five are those of least total error. Tables cut the links: their
input and output scales are free of each other. Equations: ``docs/numerics.md``.

The scales are chosen in :mod:`.layer_scales`, a layer's operators made in :mod:`.layer`, and the
network put together in :mod:`.drafts`.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..checkpoints.floating import Checkpoint
from ..genome import Genome
from ..integer import IntModel, Operator, Table
from ..knobs import Knobs
from .calibrate import Calibration, calibrate
from .drafts import draft

#: Given groups of interchangeable activation units, the index of the cheapest of each group.
Cheapest = Callable[[Sequence[Sequence[Operator]]], Sequence[int]]


def quantize(
    source: Checkpoint | Calibration,
    genome: Genome,
    knobs: Knobs | None = None,
    calibration_x: np.ndarray | None = None,
    *,
    cheapest: Cheapest | None = None,
    info: Mapping[str, object] | None = None,
) -> IntModel:
    """Quantise a float network after training.

    Parameters
    ----------
    source : Checkpoint, or a Calibration made once with :func:`~.calibrate.calibrate`
        With a checkpoint, `calibration_x` [batch, steps, features] is needed.
    genome : Genome
        One layer of 17 genes per GRU layer, two genes per dense layer.
    cheapest : callable, optional
        Decides ``activation="auto"`` among units that hold their accuracy, normally
        :func:`genogate.synth.report.cheapest`. Without one, the table is taken below 5 input bits
        and the piecewise-linear unit above, where it holds.
    info : mapping, optional
        Provenance to keep with the model.
    """
    if isinstance(source, Checkpoint):
        if calibration_x is None:
            raise ValueError("quantize: a checkpoint needs calibration_x")
        source = calibrate(source, calibration_x)
    drafted = draft(source, genome, knobs, info)
    return drafted.choose((cheapest or without_synthesis)(drafted.groups))


def without_synthesis(groups: Sequence[Sequence[Operator]]) -> list[int]:
    """A rule of thumb in place of measured cells: small tables, else the shortest linear unit."""
    return [
        1 if len(group) > 1 and isinstance(group[0], Table) and group[0].a_bits > 4 else 0
        for group in groups
    ]

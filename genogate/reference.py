"""The one network that sizes are told relative to: INT8 of the checkpoint shipped for the task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model.checkpoints.floating import Checkpoint
    from .model.data.tasks import Task
    from .model.knobs import Knobs


@dataclass(frozen=True)
class Reference:
    """What sizes are relative to.

    name : the shipped checkpoint; None where the network itself, as INT8, is the reference: it is
        the shipped one, was trained on from one of its sizes, or there is none for the task
    bits : size of the reference as INT8
    own_bits : size of the network itself as INT8
    """

    name: str | None
    bits: int
    own_bits: int

    def document(self, bits: int) -> dict[str, Any]:
        """Entries of a report for a network of `bits`."""
        return {
            "size_relative_to_int8": round(bits / self.bits, 4),
            "int8_reference": self.name,
            "size_relative_to_own_int8": round(bits / self.own_bits, 4),
        }


def size_text(report: dict[str, Any]) -> str:
    """Size and shares of a report with :meth:`Reference.document`, in words."""
    text = f"{report['size_bits']:,} bits, {report['size_relative_to_int8']:.1%} of int8"
    if report["int8_reference"] is None:
        return text
    relative = f"{report['size_relative_to_own_int8']:.1%} of int8 with this network's units"
    return f"{text} of {report['int8_reference']}, {relative}"


def reference_of(task: Task, checkpoint: Checkpoint, knobs: Knobs, own_bits: int) -> Reference:
    """The reference for networks made of `checkpoint`.

    own_bits : size of INT8 of `checkpoint`
    """
    from .model import zoo
    from .model.genome import Genome
    from .model.quantize.calibrate import calibrate
    from .model.quantize.quantize import quantize

    here = Reference(None, own_bits, own_bits)
    if task.name not in zoo.names():
        return here
    shipped = zoo.load(task.name)
    shapes = [
        {name: array.shape for name, array in c.tensors.items()} for c in (shipped, checkpoint)
    ]
    if shapes[0] == shapes[1] or shapes[0]["weight_ih_l0"][1] != task.features:
        return here
    # Tables for activations: they are no part of the size, and need no synthesis.
    plain = replace(knobs, activation="table") if knobs.activation == "auto" else knobs
    calibration = calibrate(shipped, task.x_calibration)
    int8 = quantize(calibration, Genome.uniform(8, *shipped.counts), plain)
    return replace(here, name=task.name, bits=int8.size_bits)

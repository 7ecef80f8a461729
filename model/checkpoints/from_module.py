"""Torch modules in memory, by the graph that torch exports of them.

A module's state dict does not say what its ``forward`` computes: a ReLU leaves no trace in it. The
graph does, and its outputs are compared with what was read.
"""

import copy
import warnings
from pathlib import Path
from typing import Any

from ..data.measures import filled
from ..data.tasks import Task
from ..errors import InputError
from .chain import Asked
from .floating import Checkpoint
from .from_onnx import COMPARED, from_onnx


def from_module(module: Any, task: Task, folder: Path) -> Checkpoint | None:
    """The network that `module`, a ``torch.nn.Module``, computes; None where torch cannot export
    it, or onnx is not installed.

    folder : for the exported file

    Raises :class:`InputError` as :func:`.from_onnx.from_onnx` does.
    """
    try:
        import onnx  # noqa: F401
        import torch
    except ImportError:
        return None
    if not isinstance(module, torch.nn.Module):
        return None
    example = filled(task.x_train[:COMPARED])
    path = folder / "module.onnx"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                copy.deepcopy(module).cpu().float().eval(),
                (torch.from_numpy(example[:2].copy()),),
                str(path),
                dynamo=False,
                input_names=["x"],
                dynamic_axes={"x": {0: "sequences", 1: "steps"}},
            )
    # The exporter raises nearly anything for what it does not know.
    except Exception:
        return None
    try:
        return from_onnx(path, example, task.classes, Asked(task.every, task.real))
    except InputError as error:
        # The exported file is ours, and gone when this is read.
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{type(module).__name__}: {reason}") from None

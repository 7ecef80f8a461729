"""The golden model on integer codes of a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .model.errors import InputError

if TYPE_CHECKING:
    pass


def run_golden(
    model_file: str | os.PathLike[str],
    inputs: str | os.PathLike[str],
    outputs: str | os.PathLike[str],
) -> dict[str, tuple[int, ...]]:
    """Evaluate integer codes and write the results; names and shapes of what was written.

    ``*.npz`` receives the arrays ``hidden``, ``logits`` and ``classes``; ``NAME.npy`` the hidden
    states, and ``NAME.logits.npy`` beside it the logits.
    """
    import numpy as np

    from .model.files import read_array, staged
    from .model.integer import IntModel
    from .sim import golden

    target = Path(outputs)
    if target.suffix not in (".npy", ".npz") or target.is_dir():
        raise InputError(f"{target}: the output must be a file named *.npz or *.npy")
    beside = target.with_suffix(".logits.npy")
    for path in [target] if target.suffix == ".npz" else [target, beside]:
        for source in (model_file, inputs):
            if path.exists() and Path(source).exists() and path.samefile(source):
                raise InputError(f"cannot write {path}: it is an input, name another output")
    result = golden.run(IntModel.load(model_file), read_array(inputs))
    with staged(target.parent) as stage:
        if target.suffix == ".npz":
            hidden, logits, classes = result.hidden, result.logits, result.classes
            np.savez(stage / target.name, hidden=hidden, logits=logits, classes=classes)
            return {
                f"{target}:hidden": hidden.shape,
                f"{target}:logits": logits.shape,
                f"{target}:classes": classes.shape,
            }
        np.save(stage / target.name, result.hidden)
        np.save(stage / beside.name, result.logits)
        return {str(target): result.hidden.shape, str(beside): result.logits.shape}

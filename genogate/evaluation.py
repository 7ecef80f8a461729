"""The golden model on integer codes of a file."""

from __future__ import annotations

import os
from pathlib import Path

from .model.errors import InputError


def run_golden(
    model_file: str | os.PathLike[str],
    inputs: str | os.PathLike[str],
    outputs: str | os.PathLike[str],
) -> dict[str, tuple[int, ...]]:
    """Evaluate integer codes and write the results; names and shapes of what was written.

    ``*.npz`` receives the arrays ``hidden``, ``logits`` and ``classes``, and ``codes`` of a network
    that answers these; ``NAME.npy`` the hidden states, and ``NAME.logits.npy`` beside it the
    logits, or ``NAME.codes.npy`` the codes.
    """
    import numpy as np

    from .model.files import read_array, staged
    from .model.integer import IntModel
    from .sim import golden

    target = Path(outputs)
    if target.suffix not in (".npy", ".npz") or target.is_dir():
        raise InputError(f"{target}: the output must be a file named *.npz or *.npy")
    beside = [target.with_suffix(f".{what}.npy") for what in ("logits", "codes")]
    for path in [target] if target.suffix == ".npz" else [target, *beside]:
        for source in (model_file, inputs):
            if path.exists() and Path(source).exists() and path.samefile(source):
                raise InputError(f"cannot write {path}: it is an input, name another output")
    model = IntModel.load(model_file)
    result = golden.run(model, read_array(inputs))
    arrays = {"hidden": result.hidden, "logits": result.logits, "classes": result.classes}
    if result.codes is not None:
        arrays["codes"] = result.codes
    with staged(target.parent) as stage:
        if target.suffix == ".npz":
            np.savez(stage / target.name, **arrays)  # type: ignore[arg-type]
            return {f"{target}:{name}": array.shape for name, array in arrays.items()}
        if result.codes is None:
            answer_file, answers = beside[0], result.logits
        else:
            answer_file, answers = beside[1], result.codes
        np.save(stage / target.name, result.hidden)
        np.save(stage / answer_file.name, answers)
        return {str(target): result.hidden.shape, str(answer_file): answers.shape}

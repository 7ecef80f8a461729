"""Float checkpoints: trained here, or imported."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .model.errors import InputError, shown
from .network import warn_of_features
from .outputs import resumable

if TYPE_CHECKING:
    from .model.checkpoints.floating import Checkpoint
    from .model.checkpoints.recipe import Recipe


def sequences_of(task: str, seed: int) -> int | None:
    """Training sequences of one's own data, by which its recipe is chosen; None for others."""
    from .model.data.tasks import is_own, load_task

    return len(load_task(task, seed).x_train) if is_own(task) else None


def run_training(
    task: str,
    recipe: Recipe,
    out: str | os.PathLike[str] | None,
    progress: Callable[..., None],
    test: bool = False,
) -> tuple[Checkpoint, Path]:
    """Train, and save the checkpoint; also returns where it is. With `test` its accuracy on the
    test part is looked at too.

    A training that was stopped goes on from ``FILE.partial`` beside it.
    """
    from .model.checkpoints.floating import Checkpoint, accuracy
    from .model.checkpoints.training import train
    from .model.data.tasks import load_task

    data = load_task(task, recipe.seed)
    warn_of_features(data)
    path = Path(out or Path("build") / data.label / f"seed{recipe.seed}.safetensors")
    with resumable(path) as (target, state):
        checkpoint = train(data, recipe, progress, state=state)
        if test:
            score = round(accuracy(checkpoint, *data.scored("test")), 6)
            scores = {**checkpoint.info["accuracy"], "test": score}
            checkpoint = Checkpoint(checkpoint.tensors, {**checkpoint.info, "accuracy": scores})
        checkpoint.save(target)
    return checkpoint, path


def functions_of(option: str, text: str | None) -> list[str]:
    """Functions of dense layers from ``relu,none``. Raises :class:`InputError` for others."""
    from .model.head import ACTIVATIONS

    functions = [part.strip() for part in (text or "").split(",")] if text else []
    for function in functions:
        if function not in ACTIVATIONS:
            raise InputError(f"{option}: {shown(function)} is not one of {', '.join(ACTIVATIONS)}")
    return functions


def run_import(
    model: str,
    task: str,
    seed: int,
    out: str | None,
    gru: str | None,
    classifier: str | None,
    test: bool = False,
    front: str | None = None,
    back: str | None = None,
) -> tuple[Checkpoint, Path]:
    """Read a model trained elsewhere, and save it as a checkpoint; also returns where it is. With
    `test` its accuracy on the test part is kept too."""
    from .model.checkpoints.floating import Checkpoint
    from .model.checkpoints.importing import import_model
    from .model.data.tasks import load_task

    data = load_task(task, seed)
    path = Path(out) if out else Path("build") / data.label / f"{Path(model).stem}.safetensors"
    if path.exists() and path.samefile(model):
        raise InputError(f"cannot write {path}: it is the model itself, give another --out")
    checkpoint = import_model(
        model,
        data,
        gru=gru,
        classifier=classifier,
        front=functions_of("front", front),
        back=functions_of("back", back),
    )
    warn_of_features(data, folded=True)
    scores = checkpoint.info["accuracy"]
    looked_at = {part: scores[part] for part in scores if test or part != "test"}
    checkpoint = Checkpoint(checkpoint.tensors, {**checkpoint.info, "accuracy": looked_at})
    checkpoint.save(path)
    return checkpoint, path

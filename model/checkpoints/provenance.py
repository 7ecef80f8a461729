"""What is known about the data that a network was trained on, over the whole chain of checkpoints.

A checkpoint's ``info`` carries it under :data:`UNSEEN`: whether its validation part and its test
part are known to have had no share in the training of it and of every network that it came from.
True is knowledge; None means unknown, and is what an imported model starts with.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ..data.tasks import Task, is_own
from .floating import RECORD, Checkpoint

UNSEEN, ORIGINAL = "unseen", "original"
PARTS = ("val", "test")
Unseen = dict[str, bool | None]
#: Tasks whose data are the same, by the first word of their names: the test part is the same for
#: every seed of the split, and of equal seeds the parts held out are too.
FAMILIES = ("mnist", "kws")


def unseen(checkpoint: Checkpoint) -> Unseen:
    """Whether each of :data:`PARTS` is known to be unseen by all training behind `checkpoint`."""
    info = checkpoint.info
    noted = info.get(UNSEEN)
    if isinstance(noted, dict):
        return {part: True if noted.get(part) is True else None for part in PARTS}
    # Files from before this was carried: only a training here that began with random weights.
    trained_here = "split_hash" in info and "command" in info
    inherited = any(name in info for name in ("from", "started_from", "imported"))
    return dict.fromkeys(PARTS, True if trained_here and not inherited else None)


def _family(task: str) -> str:
    word = task.split("-")[0]
    return next((name for name in FAMILIES if word.startswith(name)), task)


def _shared(before: Checkpoint, task: Task) -> Unseen:
    """What `before` has not seen of the parts of `task`, which may be another task than its own."""
    parts, info = unseen(before), before.info
    if info.get("split_hash") == task.split_hash:
        return parts
    name = info.get("task")
    if not isinstance(name, str) or is_own(name) or is_own(task.name):
        return dict.fromkeys(PARTS, None)
    if _family(name) != _family(task.name):
        # Other data altogether; but where the training behind it is unknown, so is its data.
        return parts
    fixed = _family(name) in FAMILIES
    same = info.get("split_seed", 0) == task.split_seed
    return {
        "val": parts["val"] if fixed and same else None,
        "test": parts["test"] if fixed else None,
    }


def unseen_after(task: Task, sources: Iterable[Checkpoint]) -> Unseen:
    """:func:`unseen` of what is trained on the training part of `task`, from or by `sources`."""
    rows = [_shared(source, task) for source in sources]
    return {part: True if all(row[part] for row in rows) else None for part in PARTS}


def original(checkpoint: Checkpoint) -> dict[str, Any]:
    """The float network at the beginning of the chain, before any quantised training: its ``hash``,
    ``val`` (accuracy on the validation part, if known), and what it was ``imported`` from."""
    noted = checkpoint.info.get(ORIGINAL)
    if isinstance(noted, dict):
        return noted
    if "from" in checkpoint.info:
        return {"hash": checkpoint.info["from"]}
    scores = checkpoint.info.get("accuracy")
    record: dict[str, Any] = {"hash": checkpoint.hash}
    if isinstance(scores, dict) and isinstance(scores.get("val"), int | float):
        record["val"] = scores["val"]
    if "imported" in checkpoint.info:
        record["imported"] = checkpoint.info["imported"]
    return record


def trained_further(checkpoint: Checkpoint) -> bool:
    """Whether its weights are no longer those of the float network that the chain began with."""
    return RECORD in checkpoint.info or ORIGINAL in checkpoint.info or "from" in checkpoint.info


def carried(task: Task, source: Checkpoint, *teachers: Checkpoint) -> dict[str, Any]:
    """Entries of ``info`` for a checkpoint whose weights were trained on from those of `source`."""
    return {UNSEEN: unseen_after(task, (source, *teachers)), ORIGINAL: original(source)}


def caution(checkpoint: Checkpoint) -> str | None:
    """A sentence for whoever chooses by the validation part; None where that part is unseen."""
    if unseen(checkpoint)["val"]:
        return None
    return (
        "it is unknown what this network was trained on. If its training saw the validation part, "
        "the accuracies above are too high. To be sure, give a data "
        "file with x_val and y_val that it has not seen"
    )


def caution_of(checkpoints: Mapping[str, Checkpoint]) -> str | None:
    """:func:`caution` for whoever chooses among several, by name: those that it is for are named;
    None where there are none."""
    texts = {name: text for name, each in checkpoints.items() if (text := caution(each))}
    return f"{', '.join(texts)}: {next(iter(texts.values()))}" if texts else None

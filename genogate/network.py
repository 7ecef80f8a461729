"""A quantised network and everything that it came from: checkpoint, data, genome and knobs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .model.aliases import Say
from .model.errors import InputError, Unreachable, shown

if TYPE_CHECKING:
    from .hdl.gru.design import Design
    from .model.checkpoints.floating import Checkpoint
    from .model.data.measures import Score
    from .model.data.tasks import Task
    from .model.genome import Genome
    from .model.integer import IntModel
    from .model.knobs import Knobs


@dataclass(frozen=True)
class Network:
    """A quantised network with everything that it came from.

    folder : where its results go when the user names no other place
    int8_size_bits : size of the same network with every gene at 8
    """

    task: Task
    checkpoint: Checkpoint
    knobs: Knobs
    model: IntModel
    int8_size_bits: int
    folder: Path

    @cached_property
    def design(self) -> Design:
        """The hardware, planned once."""
        from .hdl.gru.design import Design

        return Design.of(self.model, **self.knobs.hardware)

    def score(self, part: str) -> Score:
        """How well the integers do on `part` (train, val or test), by the golden model: the share
        of sequences that they class rightly, or the task's own measure."""
        from .sim import golden

        return golden.score(self.model, *self.task.scored(part))


def task_of(checkpoint: Checkpoint, name: str | None) -> Task:
    """The data that `checkpoint` was trained on, cut as it was cut for its training."""
    from .model.data.tasks import DEFAULT_TASK, load_task, may_have_moved

    trained_on = checkpoint.info.get("task")
    name = name or trained_on or DEFAULT_TASK
    if trained_on not in (None, name) and not may_have_moved(trained_on, name):
        raise InputError(f"task {name!r:.60}: the checkpoint was trained on {trained_on!r:.60}")
    task = load_task(name, checkpoint.info.get("split_seed", 0))
    task.check_head(checkpoint.head)
    if checkpoint.info.get("split_hash", task.split_hash) != task.split_hash:
        raise InputError(
            f"checkpoint: it was trained on another split of {name}, so images of its training "
            "would count as test; train it again with this version"
        )
    have = checkpoint.input_size, checkpoint.classes
    need = task.features, task.classes
    if have != need:
        raise InputError(
            f"checkpoint: {have[0]} inputs and {have[1]} classes, "
            f"task {name} has {need[0]} and {need[1]}"
            + ("" if trained_on else ": say which data it is for, --task NAME or --task FILE.npz")
        )
    return task


def source_of(checkpoint: str | None, task: str | None) -> str:
    """What :func:`.model.zoo.load` takes: the checkpoint given, or the one shipped for `task`."""
    from .model import zoo
    from .model.data.tasks import DEFAULT_TASK, check_name

    if task is not None:
        check_name(task)
    if checkpoint is None and task is not None and task not in zoo.names():
        raise InputError(
            f"task {task!r:.60}: no checkpoint is shipped for it: make one (genogate train --task "
            f"{task:.60} --out FILE, or genogate import) and give it with --checkpoint FILE"
        )
    if checkpoint is not None:
        return checkpoint
    return task or DEFAULT_TASK


def source_of_search(options: Mapping[str, Any]) -> str:
    """The checkpoint that the options of a search name first. Raises :class:`InputError` where a
    further one (--also) is of another task, before any data is loaded."""
    from .model import zoo
    from .search.genomes.evaluate import check_task

    source = source_of(options["checkpoint"], options["task"])
    floating = zoo.load(source)
    for name in options["also"]:
        check_task(name, floating.info.get("task"))
    task_of(floating, options["task"])
    return source


@contextmanager
def with_remedy(genome: object) -> Iterator[None]:
    """Errors about the genome file `genome` say how to get it back where it lies in the folder of
    a search, or which files that search has."""
    try:
        yield
    except Unreachable:
        raise
    except InputError as error:
        raise InputError(str(error), _remedy_of(str(genome))) from None
    except OSError as error:  # A path in it that no system takes.
        raise InputError(f"{genome}: {error.strerror}", _remedy_of(str(genome))) from None


def _remedy_of(genome: str) -> object:
    from .model.files import read_json
    from .search.genomes.remedies import EXPERIMENT, Resume, experiment_of

    path = Path(genome)
    try:
        missing = not path.exists()
    except OSError:  # No path that a system takes.
        return None
    command = EXPERIMENT if experiment_of(path.parent) else ""
    again = Resume("" if missing else "remove it", "which writes it again", command=command)
    if path.name == "best" and (path.parent / "ladder.json").is_file():
        try:
            document = read_json(path.parent / "ladder.json")
        except InputError:
            document = None
        if missing and isinstance(document, dict) and document.get("best", again) is None:
            more = Resume(
                after="or give a larger --max-drop in another folder",
                options="a larger --budget",
                command=command,
            )
            return f"that search has found no network within its limit: {more}"
        return again
    try:
        if not (path.parent / "evaluations.sqlite").is_file():
            return None
        front = read_json(path.parent / "front.json")
        names = [*front["named"], *(f"front-{k}" for k in range(len(front["points"])))]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if missing and path.name not in names:
        return f"that search has {', '.join(names[:8])}{' ...' * (len(names) > 8)}"
    return again


def recorded_with(genome: str) -> tuple[str, Knobs] | None:
    """Checkpoint and knobs that a genome file was found with: a genome alone is not that network.
    None for a genome that says nothing of them. Raises :class:`InputError` for wrong knobs."""
    from .model.genome import found_with
    from .model.knobs import Knobs

    with with_remedy(genome):
        record = found_with(genome)
        if record is None:
            return None
        knob_names = [field.name for field in fields(Knobs)]
        if unknown := [name for name in record[1] if name not in knob_names]:
            raise InputError(
                f"{genome}: its knobs are wrong (no knob {shown(unknown[0])}; there are "
                f"{', '.join(knob_names)})"
            )
        try:
            return record[0], Knobs(**record[1])
        except (TypeError, InputError) as error:
            raise InputError(f"{genome}: its knobs are wrong ({error})") from None


def check_recorded(genome: str, checkpoint: str) -> None:
    """Raise :class:`InputError` where `checkpoint`, with which the genome file `genome` was found,
    is neither a shipped one nor a file that is still there."""
    from .model import zoo

    try:
        there = checkpoint in zoo.names() or Path(checkpoint).is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        raise InputError(
            f"{genome}: it was found with the checkpoint {shown(checkpoint)}, which is not there: "
            "put it back, or give another with --checkpoint"
        )


def build_network(
    *, genome: str, task: str | None, checkpoint: str | None, knobs: Knobs, say: Say
) -> Network:
    """Calibrate and quantise. Raises :class:`InputError` for anything that does not fit."""
    from .model import zoo
    from .model.genome import Genome, parse_genome
    from .model.quantize.calibrate import calibrate
    from .model.quantize.quantize import quantize

    source = source_of(checkpoint, task)
    floating = zoo.load(source)
    with with_remedy(genome):
        parsed = parse_genome(genome, *floating.counts)
    data = task_of(floating, task)
    from .synth.report import cheapest

    warn_of_features(data, folded=True)
    say("Calibrating")
    calibration = calibrate(floating, data.x_calibration)
    say("Quantising")
    info = {
        "genogate": __version__,
        "task": data.name,
        "split_seed": data.split_seed,
        "split_hash": data.split_hash,
        "checkpoint": floating.hash,
    }
    by_cells = partial(cheapest, progress=say)
    model = quantize(calibration, parsed, knobs, cheapest=by_cells, info=info)
    int8 = quantize(calibration, Genome.uniform(8, *floating.counts), knobs)
    folder = result_folder(source, floating) / f"{genome_name(genome, parsed)}{knobs.suffix}"
    return Network(data, floating, knobs, model, int8.size_bits, folder)


def result_folder(source: str, checkpoint: Checkpoint) -> Path:
    """Where the results of a checkpoint go: ``build/NAME`` for a shipped one, and for a file its
    name and the beginning of its hash, since files in several folders may share a name."""
    from .model import zoo

    if source in zoo.names():
        return Path("build") / source
    return Path("build") / f"{Path(source).stem}-{checkpoint.hash[:8]}"


def genome_name(text: str, genome: Genome) -> str:
    """What a folder of results is called: ``int4``, a genome file's name and the genome's id, or
    ``mixed`` and the id for a genome in line."""
    if genome.id.startswith("int"):
        return genome.id
    file = re.fullmatch(r"(?:.*[/\\])?([\w.-]*[A-Za-z][\w.-]*)", text)
    stem = re.sub(r"\.json$", "", file[1]) if file else "mixed"
    return f"{stem}-{genome.id}"


def loaded_document(network: Network) -> dict[str, Any]:
    """What the report says of weights that are loaded."""
    from .hdl.gru.loading import image

    if network.knobs.weights == "rom":
        return {}
    loaded = image(network.design)
    memories = [vars(store) for store in loaded.stores]
    return {
        "weights": {
            "words": len(loaded.words),
            "width": loaded.width,
            "hardware": loaded.hardware,
            "memories": memories,
        }
    }


def identity_of(network: Network) -> dict[str, Any]:
    """What a result must name so that it can be made again."""
    model = network.model
    return {
        "genogate": __version__,
        "task": network.task.name,
        "split_seed": network.task.split_seed,
        "split_hash": network.task.split_hash,
        "checkpoint": network.checkpoint.hash,
        "genome": {
            "id": model.genome.id,
            "layers": [list(genes) for genes in model.genome.layers],
            **(
                {"dense": [list(pair) for pair in model.genome.dense]} if model.genome.dense else {}
            ),
        },
        "knobs": network.knobs.to_json(),
        "model_hash": model.hash,
    }


def warn_of_features(task: Task, folded: bool = False) -> None:
    """Say on stderr, a line each, what is unfortunate about the features of `task`, and of its
    targets; not of sizes of features where quantisation has `folded` them into the weights."""
    from .model.data.features import feature_warnings
    from .model.data.own import target_warnings

    lines = [*feature_warnings(task.x_calibration, folded), *target_warnings(task.y_train)]
    if task.real and not task.every and task.classes == task.steps > 1:
        lines.append(
            f"y holds {task.classes} values for each sequence, taken as those after its last step; "
            "for one value at each of its steps give y[..., None]"
        )
    for line in lines:
        print(f"genogate: warning: {line}", file=sys.stderr, flush=True)

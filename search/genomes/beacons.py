"""Beacons: a few genomes are retrained, and the search sees what their neighbours gain from it.

After MOHAQ (arXiv 2108.01192): retraining every genome is too slow, and evaluating none with
retrained weights underrates those of few bits. So the weights are retrained for a few genomes of
the front, and every genome near such a beacon is evaluated with the beacon's weights too.
"""

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...model import zoo
from ...model.errors import InputError
from ...model.files import read_json, write_json
from ...model.genome import Genome

#: Makes a float checkpoint at a path, with weights that were trained on for a genome.
Retrain = Callable[[Genome, Path], None]
#: A genome, and which of a run's further checkpoints it goes with; None for the setting's own.
Placed = tuple[Genome, str | None]


def distance(a: Placed, b: Placed) -> float:
    """Mean difference of genes, bits; infinite where the weights are not the same checkpoint's."""
    return np.inf if a[1] != b[1] else float(np.abs(np.subtract(a[0].genes, b[0].genes)).mean())


@dataclass(frozen=True)
class Beacon:
    """A genome and the float checkpoint that was retrained for it.

    checkpoint : file
    source : the further checkpoint of the run that it began with, None for the setting's own
    """

    genome: Genome
    checkpoint: str
    source: str | None = None

    def near(self, genome: Genome, most: float, source: str | None = None) -> bool:
        """Whether the :func:`distance` is at most `most` bits."""
        return distance((self.genome, self.source), (genome, source)) <= most


class Beacons:
    """The beacons of a run, kept in its folder: what was retrained once is there on resuming.

    folder : holds ``beacons.json`` and a genome and a checkpoint for each beacon
    retrain : how; or how by the further checkpoint that it begins with, None for the setting's own
    """

    def __init__(self, folder: Path, retrain: Retrain | Mapping[str | None, Retrain]) -> None:
        self.folder = folder
        self.retrain: Mapping[str | None, Retrain] = (
            retrain if isinstance(retrain, Mapping) else {None: retrain}
        )
        path = folder / "beacons.json"
        self.kept: list[dict[str, Any]] = read_json(path) if path.exists() else []
        if not isinstance(self.kept, list) or not all(isinstance(b, dict) for b in self.kept):
            raise InputError(
                f"{path}: damaged, not a list of beacons; remove it, and they are trained again"
            )
        self.lit: list[Beacon] = []

    def light(self, genome: Genome, source: str | None = None) -> Beacon:
        """The next beacon. Raises :class:`InputError` where retraining leaves no checkpoint."""
        number = len(self.lit)
        name = f"beacon-{number}.safetensors"
        path = self.folder / name
        kept_record = self.kept[number] if number < len(self.kept) else None
        identity = {"genome": list(genome.genes), **({"source": source} if source else {})}
        same = kept_record is not None and all(
            kept_record.get(name) == identity.get(name) for name in ("genome", "source")
        )
        if kept_record is None or not same or not path.exists():
            partial = self.folder / f"unfinished-{name}"
            partial.unlink(missing_ok=True)
            self.retrain[source](genome, partial)
            if not partial.exists():
                raise InputError(f"beacon {number}: retraining wrote no {partial}")
            zoo.load(str(partial))
            os.replace(partial, path)
            record = {**identity, "checkpoint": name, "hash": zoo.load(str(path)).hash}
            self.kept = [*self.kept[:number], record]
            write_json(self.folder / "beacons.json", self.kept)
        elif zoo.load(str(path)).hash != kept_record.get("hash"):
            raise InputError(
                f"{path}: not the checkpoint that the run began with; put that back, or search in "
                "another folder"
            )
        self.lit.append(Beacon(genome, str(path), source))
        return self.lit[-1]

    def next(self, genomes: Sequence[Placed], most: float) -> Placed | None:
        """Of `genomes` the one farthest from all beacons; None where all are near one."""
        away = [
            min((distance((b.genome, b.source), g) for b in self.lit), default=np.inf)
            for g in genomes
        ]
        if not away or max(away) <= most:
            return None
        # The middle of those of the front that have none yet, if there are such.
        alone = [g for g, far in zip(genomes, away, strict=True) if np.isinf(far)]
        return alone[len(alone) // 2] if alone else genomes[int(np.argmax(away))]


def by_command(
    template: str, checkpoint: str | None = None, knobs: Mapping[str, Any] | None = None
) -> Retrain:
    """Retraining by a program: `template` with ``{genome}`` (a genome file) and ``{out}`` (the
    checkpoint to write) in it, run without a shell. The genome file names `checkpoint` and `knobs`.

    Raises :class:`InputError` where one is missing, or, when called, the program fails.
    """
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise InputError(f"beacon command: {error}") from None
    for needed in ("{genome}", "{out}"):
        if not any(needed in word for word in words):
            raise InputError(f"beacon command: it needs {needed} somewhere")

    def retrain(genome: Genome, path: Path) -> None:
        file = path.with_suffix(".genome")
        source = checkpoint
        if source and Path(source).exists():
            source = str(Path(source).resolve())
        genome.save(file, checkpoint=source, knobs=knobs)
        filled = [w.replace("{genome}", str(file)).replace("{out}", str(path)) for w in words]
        try:
            done = subprocess.run(
                filled, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise InputError(f"beacon command {words[0]}: {error.strerror or error}") from None
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise InputError(
                f"beacon command {words[0]}: exit status {done.returncode}"
                + (f" ({said[-1][:200]})" if said else "")
            )

    return retrain

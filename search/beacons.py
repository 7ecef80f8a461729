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

from ..model import zoo
from ..model.errors import InputError
from ..model.files import read_json, write_json
from ..model.genome import Genome

#: Makes a float checkpoint at a path, with weights that were trained on for a genome.
Retrain = Callable[[Genome, Path], None]


def distance(a: Genome, b: Genome) -> float:
    """Mean difference of genes, bits."""
    return float(np.abs(np.subtract(a.genes, b.genes)).mean())


@dataclass(frozen=True)
class Beacon:
    """A genome and the float checkpoint that was retrained for it.

    checkpoint : file
    """

    genome: Genome
    checkpoint: str

    def near(self, genome: Genome, most: float) -> bool:
        """Whether the :func:`distance` is at most `most` bits."""
        return distance(self.genome, genome) <= most


class Beacons:
    """The beacons of a run, kept in its folder: what was retrained once is there on resuming.

    folder : holds ``beacons.json`` and a genome and a checkpoint for each beacon
    """

    def __init__(self, folder: Path, retrain: Retrain) -> None:
        self.folder, self.retrain = folder, retrain
        path = folder / "beacons.json"
        self.kept: list[dict[str, Any]] = read_json(path) if path.exists() else []
        self.lit: list[Beacon] = []

    def light(self, genome: Genome) -> Beacon:
        """The next beacon. Raises :class:`InputError` where retraining leaves no checkpoint."""
        number = len(self.lit)
        name = f"beacon-{number}.safetensors"
        path = self.folder / name
        known = self.kept[number] if number < len(self.kept) else None
        if known is None or known.get("genome") != list(genome.genes) or not path.exists():
            partial = self.folder / f"unfinished-{name}"
            partial.unlink(missing_ok=True)
            self.retrain(genome, partial)
            if not partial.exists():
                raise InputError(f"beacon {number}: retraining wrote no {partial}")
            zoo.load(str(partial))
            os.replace(partial, path)
            record = {"genome": list(genome.genes), "checkpoint": name,
                      "hash": zoo.load(str(path)).hash}  # fmt: skip
            self.kept = [*self.kept[:number], record]
            write_json(self.folder / "beacons.json", self.kept)
        elif zoo.load(str(path)).hash != known.get("hash"):
            raise InputError(
                f"{path}: not the checkpoint that the run began with; put that back, or search in "
                "another folder"
            )
        self.lit.append(Beacon(genome, str(path)))
        return self.lit[-1]

    def next(self, genomes: Sequence[Genome], most: float) -> Genome | None:
        """Of `genomes` the one farthest from all beacons; None where all are near one."""
        away = [min((distance(b.genome, g) for b in self.lit), default=np.inf) for g in genomes]
        if not away or max(away) <= most:
            return None
        if np.isinf(max(away)):
            # None yet: the middle of the front.
            return genomes[len(genomes) // 2]
        return genomes[int(np.argmax(away))]


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
            done = subprocess.run(filled, capture_output=True, text=True, errors="replace",
                                  stdin=subprocess.DEVNULL)  # fmt: skip
        except OSError as error:
            raise InputError(f"beacon command {words[0]}: {error.strerror or error}") from None
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise InputError(
                f"beacon command {words[0]}: exit status {done.returncode}"
                + (f" ({said[-1][:200]})" if said else "")
            )

    return retrain

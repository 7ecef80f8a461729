"""The folder of a run: which run it is, who works in it, its front and genome files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...model.errors import InputError, Unreachable, shown
from ...model.files import read_json, write_json
from ...model.knobs import Knobs
from .candidate import Point
from .conclusion import PATTERNS, within
from .evaluate import Setting
from .ledger import Ledger
from .pareto import knee
from .remedies import AGAIN
from .store import Store

#: Versions of config.json that can be gone on with; the last is what is written.
VERSIONS = (2, 3, 4, 5)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one process may search in a folder. The lock goes with the process, however it ends."""
    path = folder / "lock"
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        file = open(path, "w")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; remove it") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{folder}: another process searches there; wait for it, or use another folder"
            ) from None
        # What a process that was killed was writing; nobody else writes here now.
        for name in ("front.json", "history.json", *PATTERNS, *NAMES):
            for left in folder.glob(f".{name}.????????"):
                left.unlink(missing_ok=True)
        yield


#: Named points by the objective that is best there.
BEST = {
    "most-accurate": "accuracy",
    "smallest": "size",
    "fewest-weights": "weights",
    "fewest-cells": "cells",
    "least-area": "um2",
    "least-energy": "energy",
    "fewest-luts": "lut",
    "fewest-block-rams": "ebr",
}
#: Genome files besides those of :data:`~.conclusion.PATTERNS`.
NAMES = ("knee", *BEST)


def names_of(ledger: Ledger, front: Sequence[Point]) -> dict[int, list[str]]:
    """Names of genome files by the index of their points in the front."""
    costs, objectives = ledger.costs(front), ledger.objectives
    names: dict[int, list[str]] = {k: [] for k in range(len(front))}
    if not len(front):
        return names
    # Exclude points outside the useful region from the knee.
    useful = np.flatnonzero((costs < ledger.reference).all(1))
    useful = useful if len(useful) else np.arange(len(front))
    names[int(useful[knee(costs[useful])])].append("knee")
    for name, objective in BEST.items():
        if objective in objectives:
            names[int(costs[:, objectives.index(objective)].argmin())].append(name)
    int8 = ledger.points[ledger.int8].result
    for name, k in within([p.result for p in front], int8).items():
        names[k].append(name)
    for k in names:
        names[k].append(f"front-{k}")
    return names


def is_begun(folder: Path) -> bool:
    """Whether a folder holds anything of a search, with or without a budget, or of one of proxies,
    that it could be gone on with."""
    kept = ("config.json", "evaluations.sqlite", "ladder.json", "networks", "seed-*.json")
    return any(any(folder.glob(name)) for name in kept)


def parsed(path: Path, remedy: object = AGAIN) -> Any:
    """A JSON file of a run, its configuration by default, or an error that says how to get it
    back."""
    try:
        return read_json(path)
    except Unreachable:
        raise
    except InputError as error:
        raise InputError(error.message, remedy) from None


class Folder:
    """Files of a run.

    ``config.json``, ``evaluations.sqlite``, ``history.json`` (hypervolume by generation),
    ``front.json``, and genome files by the names of :func:`names_of`, which
    ``genogate gru --genome`` takes; they name checkpoint and knobs too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: What estimates of a target were off by, where the front was measured.
        self.estimates: dict[str, Any] = {}
        #: Who meets the clock, where one is asked for.
        self.clock: dict[str, Any] = {}
        #: What every genome file was written for. Most of a front stays as it is from one
        #: generation to the next, and a file takes longer to reach the disk than a genome to look
        #: at.
        self.written: dict[str, tuple[Any, ...]] = {}

    @property
    def store(self) -> Path:
        return self.path / "evaluations.sqlite"

    def begin(self, document: dict[str, Any], resume: bool) -> None:
        """Write what the run is. Raises :class:`InputError` where the folder holds another run, or
        the same and `resume` is not set."""
        path = self.path / "config.json"
        # A run that ended before its first evaluation is none.
        if path.exists() and (resume or not self.store.exists() or len(Store(self.store))):
            self._compare(parsed(path), document, resume)
        write_json(path, document)

    def _compare(self, before: Any, document: dict[str, Any], resume: bool) -> None:
        if isinstance(before, dict) and before.get("kind") == "ladder":
            raise InputError(
                f"{self.path}: holds a search within a budget; give --budget to go on with it, or "
                "another folder"
            )
        if not isinstance(before, dict) or not all(
            isinstance(before.get(part), dict) for part in ("config", "setting")
        ):
            raise InputError(f"{self.path / 'config.json'}: not the file of a search", AGAIN)
        if before.get("version") not in VERSIONS:
            raise InputError(
                f"{self.path}: a run of version {shown(before.get('version', 1))}, this program "
                f"makes {document['version']}; use another folder"
            )
        if not resume:
            raise InputError(
                f"{self.path}: holds a run already; --resume to go on with it, or another folder"
            )
        # Of what an earlier version did not know, it did what is the default now.
        knobs = before["setting"].get("knobs")
        before = {
            "config": {
                "checkpoints": [],
                "prescreen": None,
                "proxy_only": False,
                "seed_patterns": False,
                "target": "generic",
                "memories": "flops",
                "fit": False,
                "clock": None,
            }
            | before["config"],
            "setting": {"also": {}, "estimate": False, "target": "generic", "memories": "flops"}
            | before["setting"],
        }
        objectives = before["config"].get("objectives")
        if isinstance(objectives, list) and "silicon" in objectives:
            raise InputError(
                f"{self.path}: its run minimised silicon, one price for all bits, which is gone; "
                "genogate report still reads it; search by um2, or lut and ebr, in another folder"
            )
        if isinstance(knobs, dict):
            before["setting"]["knobs"] = Knobs().to_json() | knobs
        if before["config"]["prescreen"] is None:
            # It had no meaning there.
            before["config"]["prescreen_factor"] = document["config"]["prescreen_factor"]
        _by_content(before, document)
        # A run may be made longer: what it does first stays the same.
        differing = [
            name
            for part in ("config", "setting")
            for name in document[part]
            if name not in ("generations", "exploit")
            and before[part].get(name) != document[part][name]
        ]
        if differing:
            raise InputError(
                f"{self.path}: its run differs in {', '.join(differing)}; use the same options, "
                "or another folder"
            )

    def save_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        write_json(self.path / "history.json", list(history))

    def save_front(self, ledger: Ledger, front: Sequence[Point], base: Setting) -> None:
        """Write the front and the genomes worth a name; `base` is what candidates differ from."""
        order = names_of(ledger, front)
        named = {name: front[k] for k, names in order.items() for name in names}
        for name, point in named.items():
            self._write_genome(name, point, base)
        for pattern in PATTERNS:
            for path in self.path.glob(pattern):
                if path.name not in named:
                    path.unlink()
                    self.written.pop(path.name, None)
        write_json(
            self.path / "front.json",
            {
                "objectives": list(ledger.objectives),
                **({"estimates": self.estimates} if self.estimates else {}),
                **({"clock": self.clock} if self.clock else {}),
                "points": [_entry(k, point) for k, point in enumerate(front)],
                "named": {
                    name: list(p.genome.genes)
                    for name, p in named.items()
                    if not name.startswith("front-")
                },
            },
        )

    def _write_genome(self, name: str, point: Point, base: Setting) -> None:
        identity = (point.candidate, point.beacon, base)
        if self.written.get(name) == identity and (self.path / name).exists():
            return
        setting = point.candidate.setting(base)
        checkpoint = point.beacon or setting.checkpoint
        if Path(checkpoint).exists():
            # Beside the genome, or wherever it is: the file may be used from any folder.
            inside = Path(checkpoint).resolve().is_relative_to(self.path.resolve())
            checkpoint = (
                os.path.relpath(checkpoint, self.path)
                if inside
                else str(Path(checkpoint).resolve())
            )
        point.genome.save(self.path / name, checkpoint=checkpoint, knobs=setting.knobs.changes)
        self.written[name] = identity


def _by_content(before: dict[str, Any], document: Mapping[str, Any]) -> None:
    """Give checkpoints of `before` the names that they have in `document`, where they are the same
    by their hashes: a folder may have been moved, with the files that it names."""
    old, new = before["setting"], document["setting"]
    if old.get("checkpoint_hash") == new["checkpoint_hash"]:
        old["checkpoint"] = new["checkpoint"]
    if isinstance(old["also"], dict) and list(old["also"].values()) == list(new["also"].values()):
        old["also"] = new["also"]
        before["config"]["checkpoints"] = document["config"]["checkpoints"]


def _entry(number: int, point: Point) -> dict[str, Any]:
    """A point of front.json."""
    candidate = point.candidate
    return {
        "genome": list(point.genome.genes),
        "name": f"front-{number}",
        **({"knobs": dict(candidate.knobs)} if candidate.knobs else {}),
        **({"beacon": Path(point.beacon).name} if point.beacon else {}),
        **dict(sorted(point.result.items())),
    }

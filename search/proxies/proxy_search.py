"""Searches of proxies: several seeds, a folder that they go on from, outcomes and their curves."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ...model.aliases import Array
from ...model.errors import InputError
from ...model.files import read_json, write_json
from ...model.leftovers import end_with_parent
from .evolution import Config, Evolution, Member
from .fitness import Bench, Objective
from .formula import Proxy
from .shortening import shorten


@dataclass(frozen=True)
class Progress:
    """How far a search is: of the seed that went on last, and of all evaluations of all seeds."""

    seed: int
    done: int
    total: int
    best: Member | None
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a search with one seed has found.

    short : the best formula without what it does not need (:func:`shorten`), and its fitness
    """

    seed: int
    best: tuple[Member, ...]
    history: tuple[tuple[int, float], ...]
    counts: dict[str, int]
    population: tuple[Member, ...]
    short: tuple[Proxy, float] | None = None

    @classmethod
    def of(cls, evolution: Evolution) -> "Outcome":
        counts, short = evolution.counts, None
        if evolution.done and evolution.best:
            proxy, value, counts["shortening"] = shorten(
                evolution.best[0].proxy, evolution.benches, evolution.config.objective
            )
            short = proxy, value
        return cls(
            evolution.seed,
            tuple(evolution.best),
            tuple(evolution.history),
            counts,
            tuple(evolution.population),
            short,
        )

    def to_json(self) -> dict[str, Any]:
        """Its entry in ``found.json``."""
        return {
            "seed": self.seed,
            "counts": self.counts,
            "short": self.short and {"proxy": str(self.short[0]), "fitness": self.short[1]},
            "best": [member.to_json() for member in self.best],
        }


def _restored(benches: Sequence[Bench], config: Config, seed: int, path: Path | None) -> Evolution:
    evolution = Evolution(benches, config, seed)
    if path is not None and path.exists():
        try:
            evolution.restore(read_json(path))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"{path}: not the state of a proxy search ({error}); remove it, and that seed "
                "starts again"
            ) from None
    return evolution


def _go(
    benches: Sequence[Bench], config: Config, seed: int, path: Path | None, until: int
) -> Outcome:
    evolution = _restored(benches, config, seed, path)
    evolution.run(until, path)
    return Outcome.of(evolution)


def _in_parallel(
    benches: Sequence[Bench],
    config: Config,
    paths: Mapping[int, Path | None],
    workers: int,
    chunk: int,
    report: Callable[[int, int, Member | None], None],
) -> list[Outcome]:
    """Searches of all seeds of `paths`, `chunk` evaluations after `chunk`. Their states are in the
    files, so that any worker may take one up in the next round."""
    from joblib import Parallel, delayed

    by_seed: dict[int, Outcome] = {}
    with Parallel(
        n_jobs=workers,
        return_as="generator_unordered",
        initializer=end_with_parent,
        initargs=(os.getpid(),),
    ) as pool:
        for until in [*range(chunk, config.evaluations, chunk), config.evaluations]:
            jobs = (delayed(_go)(benches, config, *each, until) for each in paths.items())
            for outcome in pool(jobs):
                by_seed[outcome.seed] = outcome
                best = outcome.best[0] if outcome.best else None
                report(outcome.seed, outcome.counts["scored"], best)
    return [by_seed[seed] for seed in paths]


def document(benches: Sequence[Bench], config: Config) -> dict[str, Any]:
    """What a folder's searches depend on, but for their length."""
    return json.loads(
        json.dumps(
            {
                "version": 1,
                "config": asdict(config),
                "tables": {bench.name: bench.fingerprint for bench in benches},
            }
        )
    )


def _compare(folder: Path, before: Any, now: dict[str, Any], resume: bool) -> None:
    if (
        not isinstance(before, dict)
        or before.get("version") != now["version"]
        or not isinstance(before.get("config"), dict)
    ):
        raise InputError(f"{folder}: config.json is not that of a proxy search; another folder")
    if not resume:
        raise InputError(
            f"{folder}: holds a search already; --resume to go on with it, or another folder"
        )
    differing = [
        name
        for name, value in now["config"].items()
        if name != "evaluations" and before["config"].get(name) != value
    ]
    if before.get("tables") != now["tables"]:
        differing.append("tables")
    if differing:
        raise InputError(
            f"{folder}: its search differs in {', '.join(differing)}; use the same options, or "
            "another folder"
        )


def search(
    benches: Sequence[Bench],
    config: Config,
    seeds: Sequence[int] = (0,),
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    workers: int = 1,
    chunk: int = 500,
    tell: Callable[[Progress], None] = lambda progress: None,
    begun: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Search once with each of `seeds`.

    folder : holds ``config.json``, a ``seed-N.json`` each with its whole state, and in the end
        ``found.json`` with the best formulas; what is there already is not searched again
    workers : processes, each with a seed; chunk : evaluations that one makes before it reports
    begun : called once the folder is known to be this search's, before any work

    Raises :class:`InputError` for a folder of another search, and for tables that lack a subset
    that the objective needs.
    """
    if len(set(seeds)) != len(seeds) or not seeds:
        raise InputError("seeds: one or more different ones are needed")
    place = Path(folder) if folder is not None else None
    Evolution(benches, config, seeds[0])  # complains before anything is written
    if place is not None:
        now = document(benches, config)
        if (place / "config.json").exists():
            _compare(place, read_json(place / "config.json"), now, resume)
        write_json(place / "config.json", now)
    begun()
    paths = {seed: place / f"seed-{seed}.json" if place is not None else None for seed in seeds}
    started = time.perf_counter()
    total = config.evaluations * len(seeds)
    done = dict.fromkeys(seeds, 0)

    def report(seed: int, evaluations: int, best: Member | None) -> None:
        done[seed] = evaluations
        tell(Progress(seed, sum(done.values()), total, best, time.perf_counter() - started))

    if workers == 1 or place is None:
        outcomes = []
        for seed in seeds:
            evolution = _restored(benches, config, seed, paths[seed])
            evolution.run(
                None,
                paths[seed],
                lambda e: report(e.seed, e.evaluations, e.best[0] if e.best else None),
            )
            outcomes.append(Outcome.of(evolution))
    else:
        outcomes = _in_parallel(benches, config, paths, workers, chunk, report)
    if place is not None:
        write_json(place / "found.json", [outcome.to_json() for outcome in outcomes])
    return outcomes


def config_of(value: dict[str, Any]) -> Config:
    """A configuration as ``config.json`` holds it.

    Raises :class:`InputError` for what is none.
    """
    try:
        given = value["objective"]
        objective = Objective(**{**given, "ratios": tuple(given["ratios"])})
        names = {each.name for each in fields(Config)}
        rest = {name: each for name, each in value.items() if name in names}
        return Config(**{**rest, "screening": tuple(value["screening"]), "objective": objective})
    except (KeyError, TypeError) as error:
        raise InputError(f"configuration of a proxy search: {error}") from None


def validity(counts: dict[str, int]) -> float:
    """Share of the candidates that were drawn which had a ranking, and were new if that was
    checked."""
    return counts["valid"] / counts["drawn"] if counts["drawn"] else float("nan")


def curve(outcome: Outcome, at: Array) -> Array:
    """Best fitness after so many evaluations: float64, the shape of `at`; NaN before the first."""
    steps = np.array([step for step, _ in outcome.history], float)
    values = np.array([np.nan, *(value for _, value in outcome.history)])
    return values[np.searchsorted(steps, np.asarray(at, float), side="right")]

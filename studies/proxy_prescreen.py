"""The study of the search that a proxy prescreens, against the plain one.

Every run is kept when it has ended: a study that was stopped goes on where it was.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import rmtree
from statistics import mean
from typing import Any

import numpy as np
from genogate.model import zoo
from genogate.model.files import read_json, write_json
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting, evaluate, load
from genogate.search.genomes.run import Run
from genogate.search.proxies import tables, use
from genogate.search.proxies.gru.statistics import of_gru

from .search import spread, volume
from .search import table as lines_of

Say = Callable[[str], None]
FOLDER = Path("build/studies")
#: Evaluations between two hypervolumes.
EVERY = 4
#: Objectives without Yosys, whose caches would decide about seconds.
OBJECTIVES = ("accuracy", "size")


@dataclass(frozen=True)
class Size:
    """How much the study does.

    plain : generations, and of local search, of the search without a proxy
    proxy : of --prescreen
    """

    seeds: int = 5
    checkpoints: tuple[str, ...] = ("digits-row", "kws4")
    pop_size: int = 16
    plain: tuple[int, int] = (6, 6)
    proxies: tuple[str, ...] = ("evolved", "bit-sum")
    factor: int = 50
    blind: int = 30
    knobs: Knobs = field(default_factory=lambda: Knobs(activation="table"))


FULL = Size()
QUICK = Size(
    seeds=1, checkpoints=("digits-row",), pop_size=6, plain=(1, 1), proxies=("mse",), blind=2
)


def _plan(size: Size) -> dict[str, dict[str, Any]]:
    generations, exploit = size.plain
    both = {"generations": generations, "exploit": exploit}
    plan: dict[str, dict[str, Any]] = {"plain": both}
    for proxy in size.proxies:
        plan[f"prescreen {proxy}"] = {**both, "prescreen": proxy, "prescreen_factor": size.factor}
    for proxy in size.proxies:
        plan[f"proxy only, {proxy}"] = {
            "generations": size.blind,
            "exploit": 0,
            "prescreen": proxy,
            "proxy_only": True,
        }
    return plan


def measure(say: Say, size: Size = FULL, folder: Path = FOLDER) -> dict[str, Any]:
    """Hypervolume over evaluations and CPU seconds of every method, network and seed; each run in
    one process and with a store of its own, so that its seconds are its own."""
    folder = Path(folder) / "prescreen"
    plan = [
        (checkpoint, name, seed)
        for checkpoint in size.checkpoints
        for name in _plan(size)
        for seed in range(size.seeds)
    ]
    runs, warm = [], set()
    for done, (checkpoint, name, seed) in enumerate(plan, 1):
        setting = Setting(checkpoint, size.knobs, silicon=False)
        config = Config(
            objectives=OBJECTIVES, pop_size=size.pop_size, seed=seed, **_plan(size)[name]
        )
        about = json.dumps([asdict(config), setting.key], sort_keys=True)
        digest = hashlib.sha256(about.encode()).hexdigest()[:8]
        label = f"{re.sub('[^a-z0-9]+', '-', name)}-{seed}-{digest}"
        path = folder / checkpoint / f"{label}.json"
        if not path.exists():
            if checkpoint not in warm:
                _warm(setting, say)
                warm.add(checkpoint)
            say(f"{done} of {len(plan)}: {checkpoint}, {name}, seed {seed}")
            # What was begun and not ended has no seconds.
            rmtree(path.with_suffix(""), ignore_errors=True)
            write_json(path, _timed(path.with_suffix(""), setting, config))
            rmtree(path.with_suffix(""), ignore_errors=True)
        runs.append({"checkpoint": checkpoint, "method": name, "seed": seed, **read_json(path)})
    return {
        "size": json.loads(json.dumps(asdict(size))),
        "runs": runs,
        "proxies": {name: use.found().get(name, name) for name in size.proxies},
        "versions": tables.versions(),
    }


def _warm(setting: Setting, say: Say) -> None:
    """Calibration, its curves and the statistics, which all runs share."""
    material = load(setting)
    of_gru(zoo.load(setting.checkpoint), material.task, say=say)
    say(f"{setting.checkpoint}: calibration")
    list(evaluate(setting, [Genome.uniform(bits, material.layers) for bits in range(2, 9)]))


def _timed(folder: Path, setting: Setting, config: Config) -> dict[str, Any]:
    """Hypervolume after every :data:`EVERY` evaluations, and the CPU seconds until then; these are
    known after every generation, and taken to pass evenly between two."""
    rows: list[tuple[int, float]] = [(0, 0.0)]
    begin = time.process_time()
    run = Run(folder, setting, config)
    run.go(tell=lambda p: rows.append((p.fresh, time.process_time() - begin)))
    points = list(run.points.values())
    run.evaluator.store.close()
    counts = [*range(EVERY, len(points), EVERY), len(points)]
    int8 = run.points[run.int8].result
    at, seconds = zip(*rows, strict=True)
    return {
        "evaluations": counts,
        "seconds": [round(float(v), 3) for v in np.interp(counts, at, seconds)],
        "hypervolume": [round(volume(points[:n], OBJECTIVES, int8), 5) for n in counts],
    }


def reached(run: Mapping[str, Any], volume: float) -> int | None:
    """The first place in a run with at least that hypervolume."""
    return next((k for k, v in enumerate(run["hypervolume"]) if v >= volume - 1e-12), None)


def render(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    size = data["size"]
    lines = [
        "## NSGA-II with a proxy in front",
        "",
        f"Can a proxy spare a search evaluations? Objectives {' and '.join(OBJECTIVES)}, "
        f"populations of {size['pop_size']}, {size['plain'][0]} generations and "
        f"{size['plain'][1]} of local search, seeds 0 to {size['seeds'] - 1}, one process. The "
        "plain search begins with a profile of every operator (102 genomes). With `--prescreen` "
        f"the proxy takes the profile's place; of {size['factor']} candidates one is evaluated, "
        "and a Gaussian process over score and widths learns from those. The row `bit-sum` has "
        "the sum of all bits in the proxy's place: what the Gaussian process does alone. With "
        f"`--proxy-only` {size['blind']} generations see the proxy alone, and a front of at most "
        f"{size['pop_size']} is evaluated. Needed: evaluations and CPU seconds until a search "
        "reaches the final hypervolume of the plain one with the same seed, mean over the seeds "
        "that reach it. Calibration and the network's statistics, seconds, are not counted.",
        "",
    ]
    for checkpoint in size["checkpoints"]:
        rows = []
        of = [run for run in data["runs"] if run["checkpoint"] == checkpoint]
        plain = {run["seed"]: run for run in of if run["method"] == "plain"}
        for name in dict.fromkeys(run["method"] for run in of):
            several = [run for run in of if run["method"] == name]
            pairs = [(run, reached(run, plain[run["seed"]]["hypervolume"][-1])) for run in several]
            hits = [
                (
                    run["evaluations"][k] / plain[run["seed"]]["evaluations"][-1],
                    run["evaluations"][k],
                    run["seconds"][k],
                )
                for run, k in pairs
                if k is not None
            ]
            at_fifth = [_at(run, plain[run["seed"]]["evaluations"][-1] / 5) for run in several]
            rows.append(
                (
                    name,
                    spread([run["hypervolume"][-1] for run in several]),
                    f"{mean(run['evaluations'][-1] for run in several):.0f}",
                    f"{mean(run['seconds'][-1] for run in several):.1f}",
                    spread(at_fifth),
                    f"{len(hits)} of {len(several)}",
                    *(
                        (
                            f"{mean(h[1] for h in hits):.0f} "
                            f"({100 * mean(h[0] for h in hits):.0f} %)",
                            f"{mean(h[2] for h in hits):.1f}",
                        )
                        if hits
                        else ("-", "-")
                    ),
                )
            )
        lines += [f"{checkpoint}:", ""]
        lines += lines_of(
            [
                "method",
                "final hypervolume",
                "evaluations",
                "CPU s",
                "at a fifth of plain's evaluations",
                "seeds that reach plain's",
                "evaluations needed",
                "CPU s needed",
            ],
            rows,
        )
        lines += [_verdict(of, plain), ""]
    named = "; ".join(f"{name} is {text}" for name, text in data["proxies"].items() if name != text)
    return [*lines, f"{named[:1].upper()}{named[1:]}." if named else "", ""]


def _verdict(runs: Sequence[Mapping[str, Any]], plain: Mapping[int, Mapping[str, Any]]) -> str:
    """Whether the aim was reached: plain's final hypervolume after a fifth of its evaluations."""
    told = []
    for name in dict.fromkeys(run["method"] for run in runs if "prescreen" in run["method"]):
        several = [run for run in runs if run["method"] == name]
        final = [plain[run["seed"]] for run in several]
        shares = [
            _at(run, p["evaluations"][-1] / 5) / p["hypervolume"][-1]
            for run, p in zip(several, final, strict=True)
        ]
        told.append(
            f"{name} has {100 * mean(shares):.1f} % of it on average, and all of it with "
            f"{sum(share >= 1 for share in shares)} of {len(shares)} seeds"
        )
    return (
        "The aim is plain's final hypervolume after a fifth of its evaluations. There "
        f"{'; '.join(told)}."
    )


def _at(run: Mapping[str, Any], evaluations: float) -> float:
    """Hypervolume that a run has after so many evaluations."""
    known = [
        v for n, v in zip(run["evaluations"], run["hypervolume"], strict=True) if n <= evaluations
    ]
    return known[-1] if known else 0.0

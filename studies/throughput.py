"""How fast the search is, against the loop that anyone would write first, and what memory it takes.

Everything is measured in processes of their own, with caches of their own, one after another.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from genogate.hdl.gru.design import Design
from genogate.model.errors import InputError
from genogate.model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from genogate.model.knobs import Knobs
from genogate.model.quantize.quantize import quantize
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting, evaluate, load
from genogate.search.genomes.run import Run
from genogate.search.pool.backends import Pool
from genogate.sim import golden
from genogate.synth.area import measure
from genogate.synth.recipes import script_hash
from genogate.synth.yosys import find

from .search import EXPLORE, int8_of, table, volume

Say = Callable[[str], None]
FOLDER = Path("build/studies/throughput")
#: Seconds between two looks at memory.
OFTEN = 0.25
#: Seconds that a child may take.
PATIENCE = 3600
#: What is timed, and the caches; a warm one is that of the cold one before.
BY_ESTIMATES, COLD, WARM = "by estimates, cold cache", "exact, cold cache", "exact, warm cache"
CACHES = {BY_ESTIMATES: "cache-estimates", COLD: "cache-exact", WARM: "cache-exact"}


@dataclass(frozen=True)
class Size:
    """How much is measured.

    genomes, naive : random genomes for the engine, and for the naive loop
    search, long : population and generations of the timed searches, and of a longer one by
        estimates
    growth : populations and generations of which the peak memory is measured
    """

    genomes: int = 48
    naive: int = 6
    search: tuple[int, int] = (64, 32)
    long: tuple[int, int] = (64, 64)
    growth: tuple[tuple[int, int], ...] = ((32, 8), (64, 8), (32, 16))
    workers: int = 2
    seed: int = 0
    checkpoint: str = "digits-row"
    knobs: Knobs = field(default_factory=Knobs)
    initial: str = "sensitivity"


FULL = Size()
QUICK = Size(
    genomes=2,
    naive=2,
    search=(4, 1),
    long=(4, 2),
    growth=((4, 1), (4, 2)),
    knobs=Knobs(activation="table"),
    initial="random",
)


def _genomes(count: int, seed: int, layers: int) -> list[Genome]:
    rows = np.random.default_rng([seed, 11]).integers(
        MIN_BITS, MAX_BITS + 1, (count, layers * len(GENES))
    )
    return [Genome.from_genes(row) for row in rows]


# What runs in a child


def _naive(case: tuple[Setting, Genome]) -> dict[str, Any]:
    """A genome without any help: quantise, the golden model, Yosys on the whole design. Calibration
    is made once, and activation units are chosen without Yosys, both in the loop's favour."""
    setting, genome = case
    material = load(setting)
    model = quantize(material.calibration, genome, setting.knobs)
    classes = golden.run(model, model.quantize_input(material.task.x_val)).classes
    (area,) = measure([Design.of(model, **setting.knobs.hardware).component()])
    return {"accuracy": float((classes == material.task.y_val).mean()), "cells": area.cells}


def _setting(about: Mapping[str, Any]) -> Setting:
    knobs = Knobs(**about["knobs"])
    return Setting(about["checkpoint"], knobs, estimate=about.get("estimate", False))


def _loop(about: Mapping[str, Any]) -> dict[str, Any]:
    setting = _setting(about)
    genomes = _genomes(about["count"], about["seed"], load(setting).layers)
    with Pool("processes" if about["workers"] > 1 else "serial", about["workers"]) as pool:
        # Workers load and calibrate before the clock runs.
        list(pool.map(_warm, [setting] * about["workers"]))
        started = time.perf_counter()
        found = dict(pool.map(_naive, [(setting, genome) for genome in genomes]))
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "cells": [found[k]["cells"] for k in range(len(genomes))]}


def _warm(setting: Setting) -> int:
    """Load, and compile what is compiled on first use."""
    dict(
        evaluate(
            Setting(setting.checkpoint, Knobs(activation="table"), False),
            [Genome.uniform(MAX_BITS, load(setting).layers)],
        )
    )
    return os.getpid()


def _engine(about: Mapping[str, Any]) -> dict[str, Any]:
    setting = _setting(about)
    genomes = _genomes(about["count"], about["seed"], load(setting).layers)
    _warm(setting)
    started = time.perf_counter()
    found = dict(evaluate(setting, genomes, workers=about["workers"]))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "cells": [found[genome]["cells"] for genome in genomes]}


def _search(about: Mapping[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    generations = about["generations"]
    explore = max(1, round(EXPLORE * generations))
    config = Config(
        pop_size=about["pop_size"],
        generations=explore,
        initial=about["initial"],
        exploit=generations - explore,
        seed=about["seed"],
    )
    run = Run(about["folder"], _setting(about), config)
    front = run.go(workers=about["workers"])
    seconds = time.perf_counter() - started
    # Of a search by estimates only what was measured counts.
    points = list(run.points.values())
    return {
        "seconds": seconds,
        "evaluations": len(run.estimated or points),
        "measured": sum("cells" in point.result for point in points),
        "front": len(front),
        "hypervolume": volume(points, config.objectives, int8_of(points)),
    }


_TASKS = {"loop": _loop, "engine": _engine, "search": _search}


def child(text: str) -> None:
    """Do what the parent asks for, and print the answer as the last line."""
    about = json.loads(text)
    print(json.dumps(_TASKS[about["what"]](about)))


# The parent


def _tree(pid: int) -> list[int]:
    """A process and everything below it (Linux)."""
    found = [pid]
    for each in found:
        try:
            text = Path(f"/proc/{each}/task/{each}/children").read_text()
        except OSError:
            continue
        found += [int(word) for word in text.split()]
    return found


def _kilobytes(pid: int, file: str, entry: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(entry):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return 0


def memory_of(pid: int) -> dict[str, float]:
    """MB of a process alone (resident), and of its whole tree (shared pages counted once)."""
    tree = _tree(pid)
    return {
        "parent": _kilobytes(pid, "status", "VmRSS:") / 1024,
        "tree": sum(_kilobytes(each, "smaps_rollup", "Pss:") for each in tree) / 1024,
        "processes": len(tree),
    }


def started(about: Mapping[str, Any], cache: Path) -> dict[str, Any]:
    """The answer of a child with its cache in `cache`, the seconds that it lived, and the greatest
    memory. Raises :class:`InputError` where it fails."""
    code = "import sys; from studies.throughput import child; child(sys.argv[1])"
    env = {**os.environ, "GENOGATE_CACHE": str(cache.resolve())}
    began = time.perf_counter()
    peak: dict[str, float] = {}
    # Files, because a pipe that nobody reads stops its writer when it is full.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(about)],
            env=env,
            stdout=out,
            stderr=err,
            text=True,
        )
        while process.poll() is None:
            for name, value in memory_of(process.pid).items():
                peak[name] = max(peak.get(name, 0), value)
            try:
                process.wait(OFTEN)
            except subprocess.TimeoutExpired:
                if time.perf_counter() - began > PATIENCE:
                    process.kill()
        lines = {}
        for name, file in (("out", out), ("err", err)):
            file.seek(0)
            lines[name] = file.read().strip().splitlines() or ["no message"]
    if process.returncode:
        raise InputError(f"throughput: {about['what']} failed ({lines['err'][-1][:200]})")
    answer = json.loads(lines["out"][-1])
    return {
        **answer,
        "wall": round(time.perf_counter() - began, 2),
        "memory": {name: round(value, 1) for name, value in peak.items()},
    }


def measure_throughput(say: Say, size: Size = FULL, folder: Path = FOLDER) -> dict[str, Any]:
    """The naive loop before and after the engine, cold and warm; a whole search; memory."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    base = {
        "checkpoint": size.checkpoint,
        "knobs": asdict(size.knobs),
        "seed": size.seed,
        "workers": size.workers,
        "initial": size.initial,
    }
    count = size.genomes

    def naive(part: int) -> dict[str, Any]:
        say(f"The naive loop, {size.naive // 2} genomes ({part} of 2)")
        about = {**base, "what": "loop", "count": size.naive // 2, "seed": size.seed + part}
        return started(about, folder / f"cache-naive-{part}")

    first = naive(1)
    engine = {}
    for state, cache in CACHES.items():
        say(f"{count} genomes, {state}")
        about = {**base, "what": "engine", "count": count, "estimate": state == BY_ESTIMATES}
        engine[state] = started(about, folder / f"{cache}-engine")
    second = naive(2)
    estimated, cold, warm = (np.array(engine[state].pop("cells"), float) for state in CACHES)
    if (cold != warm).any():
        raise InputError("throughput: a warm cache gives other cells than a cold one")
    engine[BY_ESTIMATES]["error"] = float(np.median(abs(estimated / cold - 1)))
    loop = {"genomes": 2 * (size.naive // 2), "seconds": [first["seconds"], second["seconds"]]}

    def timed(sizes: tuple[int, int], state: str, cache: str) -> dict[str, Any]:
        pop_size, generations = sizes
        say(f"A search of {pop_size} x {generations}, {state}")
        about = {
            **base,
            "what": "search",
            "pop_size": pop_size,
            "generations": generations,
            "folder": str(folder / f"run-{generations}-{state.replace(', ', '-')}"),
            "estimate": state == BY_ESTIMATES,
        }
        return started(about, folder / cache)

    searches = {
        state: timed(size.search, state, f"{cache}-search") for state, cache in CACHES.items()
    }
    long = timed(size.long, BY_ESTIMATES, "cache-long")
    growth = []
    for pop_size, generations in size.growth:
        say(f"Memory of {pop_size} x {generations}")
        about = {
            **base,
            "what": "search",
            "pop_size": pop_size,
            "generations": generations,
            "folder": str(folder / f"run-{pop_size}-{generations}"),
        }
        found = started(about, folder / "cache-search")
        growth.append({"pop_size": pop_size, "generations": generations, **found})
    return {
        "size": asdict(size),
        "naive": loop,
        "engine": {state: {**found, "genomes": count} for state, found in engine.items()},
        "search": searches,
        "long": long,
        "growth": growth,
        "cores": os.cpu_count(),
        "yosys": find().version,
        "script": script_hash(),
        "command": "python -m studies --only search_throughput",
    }


def render_throughput(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    size, loop = data["size"], data["naive"]
    slow = loop["genomes"] / sum(loop["seconds"])
    rows = [
        (
            "naive loop: Yosys on the whole design of every genome",
            loop["genomes"],
            f"{sum(loop['seconds']):.1f}",
            f"{slow:.3f}",
            "1",
        )
    ]
    rate, exact = {}, data["search"][COLD]["hypervolume"]
    for state, found in data["engine"].items():
        rate[state] = found["genomes"] / found["seconds"]
        rows.append(
            (
                f"engine, {state}",
                found["genomes"],
                f"{found['seconds']:.1f}",
                f"{rate[state]:.2f}",
                f"{rate[state] / slow:.0f}",
            )
        )
    searches = []
    for state, found in data["search"].items():
        speed = found["evaluations"] / found["wall"]
        rate[f"search, {state}"] = speed
        searches.append(
            (
                state,
                f"{found['evaluations']:,}",
                f"{found['measured']:,}",
                f"{found['wall']:.0f}",
                f"{speed:.1f}",
                f"{speed / slow:.0f}",
                f"{100 * found['hypervolume'] / exact:.1f}",
                f"{found['memory']['parent']:.0f}",
                f"{found['memory']['tree']:.0f}",
            )
        )
    pop, generations = size["search"]
    parts = ", ".join(f"{seconds:.1f}" for seconds in loop["seconds"])
    aims = "; ".join(
        f"{state}: {'reached' if rate[f'search, {state}'] / slow >= 50 else 'not reached'}"
        for state in data["search"]
    )
    long = data["long"]
    in_time = "reached" if long["evaluations"] >= 4096 and long["wall"] < 300 else "not reached"
    # Memory for each genome more, by least squares over the runs.
    grown = data["growth"]
    text = ""
    if len(grown) > 2:
        x = [row["evaluations"] for row in grown]
        y = [row["memory"]["parent"] for row in grown]
        slope = float(np.polyfit(x, y, 1)[0])
        text = (
            f" Every further 1,000 evaluations take {1000 * slope:.1f} MB of the parent."
            if slope > 0
            else " In these the parent's memory does not grow with evaluations."
        )
    return [
        "## Throughput of the search, and its memory",
        "",
        f"digits-row; accuracy and cells of every genome, {size['workers']} processes "
        f"on {data['cores']} cores. The naive loop does without what the search does to be fast: "
        "for each genome it quantises, runs the golden model on the validation part, and "
        "synthesises the whole design as one module. It runs in as many processes, some of its "
        f"genomes before and some after what is timed ({parts} s). Cold: with "
        "an empty cache. Warm: every module was measured before, by another process. Random "
        "genomes share fewer modules than those of a search. Loading and calibration are not "
        "counted.",
        "",
        *table(("how", "genomes", "seconds", "genomes/s", "times the naive loop"), rows),
        f"Estimates of these genomes' cells are {100 * data['engine'][BY_ESTIMATES]['error']:.1f} "
        "% off in the median.",
        "",
        f"A search of {pop} x {generations} from the command to its end, loading included. By "
        "estimates, the default, only what is promising is measured by Yosys at the end, and "
        "nothing else counts; an exact one sends every genome to Yosys that is not far below "
        "INT8's accuracy. Hypervolume: of what was measured, in accuracy, size and cells, in "
        "percent of the exact search's:",
        "",
        *table(
            (
                "search",
                "evaluations",
                "measured",
                "seconds",
                "evaluations/s",
                "times the naive loop",
                "hypervolume, %",
                "parent, MB",
                "all processes, MB",
            ),
            searches,
        ),
        f"The aim is 50 times the naive loop ({aims}). A search of {size['long'][0]} x "
        f"{size['long'][1]} by estimates, cold cache: {long['evaluations']:,} evaluations, "
        f"{long['measured']:,} of them measured, in {long['wall']:.0f} s, "
        f"{long['evaluations'] / long['wall'] / slow:.0f} times the naive loop; the aim of 4,096 "
        f"in 300 seconds is {in_time}.",
        "",
        "Peak memory of smaller searches (resident memory of the parent; of all processes "
        "together, shared pages counted once):",
        "",
        *table(
            (
                "population",
                "generations",
                "evaluations",
                "parent, MB",
                "all processes, MB",
                "processes",
            ),
            [
                (
                    row["pop_size"],
                    row["generations"],
                    f"{row['evaluations']:,}",
                    f"{row['memory']['parent']:.0f}",
                    f"{row['memory']['tree']:.0f}",
                    row["memory"]["processes"],
                )
                for row in grown
            ],
        ),
        f"`{data['command']}`, seed {size['seed']}; {data['yosys']}, script "
        f"{data['script']}.{text}",
        "",
    ]

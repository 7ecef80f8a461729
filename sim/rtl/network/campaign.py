"""A campaign: many random networks, each emitted, simulated and held to the golden model."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ....model.errors import InputError
from ....model.files import write_json
from ....model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ....model.head import ACTIVATIONS, OUTPUTS, Head
from ....model.integer import IntModel, code_range
from ....model.knobs import SHARED_LANES, SHARES, Lanes
from ...random_model import random_model
from .regression import require_simulator, simulate

#: Results, one JSON line a case, appended as the cases end; and the summary.
RESULTS, SUMMARY = "results.jsonl", "summary.json"


@dataclass(frozen=True)
class Case:
    """One network of a campaign, its knobs, and what is put through it."""

    seed: int
    index: int
    name: str
    genes: tuple[tuple[int, ...], ...]
    input_size: int
    hidden_size: int
    classes: int
    lanes_x: int
    lanes_h: int
    channel: bool
    terms: int | None
    activation: str
    entries: int
    dense_output: str
    batch: int
    steps: int
    stall: float
    input_bits: int = 8
    share: str = "none"
    classifier_bits: int = 8
    at: str = "last"
    output: str = "class"
    function: str = "none"
    head_bits: int = 8
    pipeline: int = 0

    @property
    def ideal_cycles(self) -> int:
        """Cycles of a time step if no multiplier ever waited: that of the slowest layer."""
        own = -(-self.hidden_size // self.lanes_h)
        sizes = [self.input_size] + [self.hidden_size] * (len(self.genes) - 1)
        return max(self.hidden_size * max(-(-size // self.lanes_x), own) for size in sizes)

    def model(self) -> IntModel:
        """The integer model of the case, always the same one."""
        rng = np.random.default_rng([self.seed, self.index, 1])
        return random_model(
            rng,
            Genome(self.genes),
            self.input_size,
            self.hidden_size,
            self.classes,
            channel=self.channel,
            terms=self.terms,
            activation=self.activation,
            entries=self.entries,
            dense_output=self.dense_output,
            input_bits=self.input_bits,
            classifier_bits=self.classifier_bits,
            head=Head(self.at, self.output, self.function),
            head_bits=self.head_bits,
        )

    def codes(self) -> np.ndarray:
        """Input codes int64 [batch, steps, features], always the same ones."""
        rng = np.random.default_rng([self.seed, self.index, 2])
        shape = (self.batch, self.steps, self.input_size)
        return rng.integers(*code_range(self.input_bits), shape, endpoint=True)


def _random_case(seed: int, index: int) -> Case:
    rng = np.random.default_rng([seed, index, 0])

    def one_of(values: Iterable[Any], weights: Sequence[float] | None = None) -> Any:
        options = list(values)
        return options[int(rng.choice(len(options), p=weights))]

    layers = one_of((1, 2, 3), (0.8, 0.17, 0.03))
    hidden = one_of(
        (int(rng.integers(1, 9)), int(rng.integers(9, 17)), int(rng.integers(17, 33))),
        (0.5, 0.42, 0.08),
    )
    case = Case(
        seed=seed,
        index=index,
        name="random",
        genes=tuple(
            tuple(map(int, rng.integers(MIN_BITS, MAX_BITS + 1, len(GENES)))) for _ in range(layers)
        ),
        input_size=int(rng.integers(1, 21)),
        hidden_size=hidden,
        classes=int(rng.integers(2, 12)),
        lanes_x=int(rng.integers(1, 9)),
        lanes_h=int(rng.integers(1, 9)),
        channel=bool(rng.random() < 0.4),
        terms=one_of((1, 2, 3, None)),
        activation=one_of(("pwl", "table", "mix")),
        entries=one_of((1, 2, 4, 8, 16)),
        dense_output=one_of(("gene", "8", "mix")),
        batch=int(rng.integers(2, 5)),
        steps=int(rng.integers(3, 8)),
        stall=float(round(rng.uniform(0.1, 0.7), 2)),
        # Drawn last, so that all else is as it was before there was a choice.
        input_bits=one_of((8, *range(1, 8)), (0.44, *[0.08] * 7)),
    )
    case = _shared(case) if one_of(SHARES, (0.7, 0.3)) == "all" else case
    case = replace(case, classifier_bits=one_of((8, *range(2, 8)), (0.52, *[0.08] * 6)))
    output = one_of(OUTPUTS, (0.6, 0.15, 0.25))
    if case.share == "all" and output == "codes":
        return case
    case = replace(
        case,
        at=one_of(("last", "every")),
        output=output,
        function=one_of(ACTIVATIONS) if output == "codes" else "none",
        head_bits=int(rng.integers(MIN_BITS, MAX_BITS + 1)) if output == "codes" else 8,
    )
    return replace(case, pipeline=one_of((0, 1, 2), (0.6, 0.2, 0.2)))


def _shared(case: Case) -> Case:
    """The same with one adder for all, and small: it takes some hundred cycles for a unit."""
    return replace(
        case,
        share="all",
        pipeline=0,
        lanes_x=SHARED_LANES[case.lanes_x % len(SHARED_LANES)],
        lanes_h=SHARED_LANES[case.lanes_x % len(SHARED_LANES)],
        input_size=min(case.input_size, 6),
        hidden_size=min(case.hidden_size, 5),
        batch=2,
        steps=min(case.steps, 4),
    )


def _forced() -> list[dict[str, Any]]:
    """What the first cases must be, whatever the seed: changes to a random case."""
    forced: list[dict[str, Any]] = [
        {"name": f"all-{bits}", "genes": Genome.uniform(bits).layers} for bits in (2, 8)
    ]
    for position, gene in enumerate(GENES):
        genes = [8] * len(GENES)
        genes[position] = 2
        forced.append({"name": f"int8 with {gene} at 2", "genes": (tuple(genes),)})
    for lanes in range(1, 9):
        # One more operand than a whole number of words, so that the last word is not full.
        forced.append(
            {
                "name": f"lanes {lanes}",
                "lanes_x": lanes,
                "lanes_h": 9 - lanes,
                "input_size": 2 * lanes + 1,
                "hidden_size": 10,
            }
        )
    forced += [
        {"name": "two layers int8", "genes": Genome.uniform(8, 2).layers},
        {"name": "two layers int2", "genes": Genome.uniform(2, 2).layers},
        {"name": "one input", "input_size": 1, "hidden_size": 12},
        {"name": "more inputs than units", "input_size": 24, "hidden_size": 5},
        {"name": "one unit", "hidden_size": 1},
        {
            "name": "32 units, one lane",
            "hidden_size": 32,
            "input_size": 8,
            "lanes_x": 1,
            "lanes_h": 1,
            "batch": 2,
            "steps": 4,
        },
        {"name": "channel shifts", "channel": True, "genes": Genome.uniform(4).layers},
        {"name": "no channel shifts", "channel": False, "genes": Genome.uniform(4).layers},
        *(
            {
                "name": f"multiplier terms {terms or 'unconstrained'}",
                "terms": terms,
                "genes": Genome.uniform(6).layers,
            }
            for terms in (1, 2, 3, None)
        ),
        *(
            {
                "name": f"activation {kind}",
                "activation": kind,
                "entries": 8,
                "genes": Genome.uniform(8).layers,
            }
            for kind in ("pwl", "table")
        ),
        *(
            {
                "name": f"dense output {output}",
                "dense_output": output,
                "genes": Genome.uniform(3).layers,
            }
            for output in ("gene", "8")
        ),
        *(
            {"name": f"pipeline {depth}", "pipeline": depth, "channel": depth == 2}
            for depth in (1, 2)
        ),
        *({"name": f"input of {bits} bits", "input_bits": bits} for bits in (1, 2, 4)),
        *({"name": f"classifier of {bits} bits", "classifier_bits": bits} for bits in (2, 5)),
        *(
            {"name": f"share all, {name}", "share": "all", "genes": genes, **more}
            for name, genes, more in (
                ("int8", Genome.uniform(8).layers, {"activation": "pwl", "terms": 1}),
                ("int2", Genome.uniform(2).layers, {"activation": "pwl"}),
                ("tables", Genome.uniform(5).layers, {"activation": "table"}),
                ("channel shifts", Genome.uniform(6).layers, {"channel": True, "terms": None}),
                ("two layers", Genome.uniform(4, 2).layers, {}),
                ("three layers", Genome.uniform(3, 3).layers, {}),
                ("one unit", Genome.uniform(8).layers, {"hidden_size": 1, "input_size": 1}),
                ("classes at every step", Genome.uniform(5, 2).layers, {"at": "every"}),
                ("logits", Genome.uniform(5).layers, {"at": "every", "output": "logits"}),
            )
        ),
        *(
            {"name": f"head: {Head(at, output, function)}", "genes": genes, **more}
            | {"at": at, "output": output, "function": function, "head_bits": bits}
            for at, output, function, bits, genes, more in (
                ("every", "class", "none", 8, Genome.uniform(8).layers, {}),
                ("every", "class", "none", 8, Genome.uniform(4).layers, {"hidden_size": 1}),
                ("every", "logits", "none", 8, Genome.uniform(5, 2).layers, {}),
                ("every", "codes", "sigmoid", 8, Genome.uniform(8).layers, {"classes": 12}),
                ("every", "codes", "tanh", 5, Genome.uniform(6).layers, {"activation": "table"}),
                ("every", "codes", "relu", 3, Genome.uniform(8).layers, {"terms": None}),
                ("every", "codes", "none", 8, Genome.uniform(3).layers, {"classes": 1}),
                ("last", "codes", "sigmoid", 4, Genome.uniform(8).layers, {"activation": "pwl"}),
                ("last", "logits", "none", 8, Genome.uniform(8).layers, {}),
            )
        ),
    ]
    return forced


def make_case(seed: int, index: int) -> Case:
    """Case `index` of the campaign of `seed`: a pure function of the two."""
    case, forced = _random_case(seed, index), _forced()
    if index < len(forced):
        change = dict(forced[index])
        # Forced genomes have their own number of layers; the others keep one layer.
        change.setdefault("genes", case.genes[:1])
        change.setdefault("input_bits", 8)
        change.setdefault("classifier_bits", 8)
        for name in ("share", "pipeline", "at", "output", "function", "head_bits"):
            change.setdefault(name, Case.__dataclass_fields__[name].default)
        case = replace(case, **change)
        if case.share == "all":
            case = _shared(case)
    return case


def run_case(case: Case, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Emit, simulate and compare one case in `folder`; a JSON-able record that never raises.

    The folder is removed when everything is equal; else it holds the Verilog, the model, the
    logs, ``case.json`` and the waveform.
    """
    from ....hdl.gru.design import Design
    from ....synth.verilog import emit

    started, folder = time.monotonic(), Path(folder)
    record: dict[str, Any] = {**asdict(case), "ideal_cycles_per_step": case.ideal_cycles}
    try:
        model = case.model()
        record |= {"genome": model.genome.id, "model_hash": model.hash}
        lanes = Lanes(case.lanes_x, case.lanes_h)
        design = Design.of(model, lanes, case.share, case.pipeline)
        text = emit(design)
        record["documented_cycles_per_step"] = design.cycles_per_step
        record["emit_seconds"] = time.monotonic() - started
        report = simulate(
            model,
            text,
            case.codes(),
            out_dir=folder,
            seed=case.seed + case.index,
            stall=case.stall,
            share=case.share,
        )
        record |= {
            "passed": report.passed,
            "sequences": report.sequences,
            "steps_compared": report.steps,
            "codes": report.codes,
            "cycles": report.cycles,
            "cycles_per_step": report.cycles_per_step,
            "mismatches": report.mismatches or ([] if report.passed else ["nothing was compared"]),
            "waveform": report.waveform,
        }
    except Exception as error:
        # One broken case must not end the campaign; it counts as failed.
        text = " ".join(str(error).split())[:300]
        record |= {"passed": False, "mismatches": [f"{type(error).__name__}: {text}"]}
    record["seconds"] = time.monotonic() - started
    if record["passed"]:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "case.json", record)
    return record


def _depend_on_the_parent() -> None:
    """For workers: Ctrl-C ends the campaign once, not every process with a traceback, and none
    outlives a parent that was killed. A group for each, so that its simulator ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        os.setpgid(0, 0)

    def follow() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            if os.name == "posix":
                os.killpg(0, signal.SIGKILL)
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _kill(pool: ProcessPoolExecutor) -> None:
    """End the workers at once, with what they started."""
    for pid in list(pool._processes or ()):
        with suppress(OSError):
            if os.name == "posix" and os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGTERM)


def source_fingerprint() -> str:
    """12 hex digits over the sources that decide results: model, sim and hdl."""
    root, digest = Path(__file__).resolve().parents[3], hashlib.sha256()
    for part in ("model", "sim", "hdl"):
        for path in sorted((root / part).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def read_results(path: Path) -> list[dict[str, Any]]:
    """The whole records of a results file; a line cut short by a kill is removed from the file."""
    if not path.exists():
        return []
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) != len(raw):
        os.truncate(path, len(whole))
    records = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise InputError(f"{path}: line {number} is not a campaign record ({error})") from None
        records.append(record)
    return records


def summarize(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Totals of a campaign's records."""
    failed = [record for record in records if not record["passed"]]

    def total(key: str) -> int:
        return sum(record.get(key, 0) for record in records)

    measured = [record for record in records if record.get("cycles_per_step")]
    as_documented = sum(
        record["cycles_per_step"] == record["documented_cycles_per_step"] for record in measured
    )
    shares = [
        record["ideal_cycles_per_step"] / record["cycles_per_step"]
        for record in measured
        if record["hidden_size"] >= 16 and record.get("share", "none") == "none"
    ]
    return {
        "cases": len(records),
        "failed_cases": len(failed),
        "mismatches": sum(len(record["mismatches"]) for record in failed),
        "sequences": total("sequences"),
        "codes": total("codes"),
        "cycles": total("cycles"),
        "case_seconds": round(sum(record["seconds"] for record in records), 1),
        "cycles_per_step": {"measured": len(measured), "as_documented": as_documented},
        "utilisation_16_units_and_more": {
            "cases": len(shares),
            "min": round(min(shares), 4) if shares else None,
        },
        "failures": [
            {"index": record["index"], "name": record["name"], "first": record["mismatches"][0]}
            for record in sorted(failed, key=lambda record: record["index"])
        ],
    }


def campaign(
    n: int,
    *,
    out_dir: str | os.PathLike[str],
    seed: int = 2026,
    workers: int = 2,
    indices: Sequence[int] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Run `n` cases and return the summary, which is also written to ``out_dir/summary.json``.

    Parameters
    ----------
    n : int
        Number of cases, at least 1. The first ones are forced (all-2, all-8, each gene alone at
        2, lanes 1 to 8, two layers, ...), the rest random.
    out_dir : path
        Made when missing. ``results.jsonl`` gets a line as soon as a case ends, so that a killed
        campaign goes on where it was; results of another seed or of other sources stay in the
        file and do not count. ``cases/INDEX`` keeps what is needed to look at a failed case.
    seed : int
        Case k is a function of (seed, k) alone.
    workers : int
        Processes.
    indices : cases to run instead of ``range(n)``, to repeat some alone.
    progress : bool
        Show a progress bar on stderr.

    The summary has ``cases failed_cases mismatches sequences codes cycles case_seconds seconds
    resumed workers seed sources versions failures``, ``cycles_per_step`` (cases in which it could
    be ``measured``, and those where it was ``as_documented``) and
    ``utilisation_16_units_and_more`` (ideal over measured cycles, the least). Raises
    :class:`InputError` for bad arguments, a damaged results file and missing tools; a failing
    case does not raise.
    """
    started = time.monotonic()
    for what, value, low in (("n", n, 1), ("workers", workers, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise InputError(f"campaign: {what} must be an integer from {low} on, not {value!r}")
    versions = require_simulator()
    numbers = sorted(set(range(n) if indices is None else indices))
    folder, sources = Path(out_dir).resolve(), source_fingerprint()
    # Proves that the folder can be written before any work is done.
    write_json(folder / SUMMARY, {"seed": seed, "sources": sources, "running": True})
    results = folder / RESULTS
    done = {
        record["index"]: record
        for record in read_results(results)
        if (record.get("seed"), record.get("sources")) == (seed, sources)
        and record.get("index") in numbers
    }
    resumed = len(done)
    missing = [index for index in numbers if index not in done]
    columns = (
        TextColumn("campaign"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    # Forked workers would inherit locks of whatever threads the caller runs.
    context = multiprocessing.get_context("spawn")
    with (
        Progress(*columns, console=Console(stderr=True), disable=not progress) as bar,
        open(results, "ab") as file,
        ProcessPoolExecutor(workers, mp_context=context, initializer=_depend_on_the_parent) as pool,
    ):
        failed = sum(not record["passed"] for record in done.values())
        task = bar.add_task("campaign", total=len(numbers), completed=resumed, failed=failed)
        jobs = [
            pool.submit(run_case, make_case(seed, index), folder / "cases" / f"{index:05d}")
            for index in missing
        ]
        try:
            for job in as_completed(jobs):
                record = {**job.result(), "sources": sources}
                file.write(json.dumps(record).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
                done[record["index"]] = record
                failed += not record["passed"]
                bar.update(task, advance=1, failed=failed)
        except BrokenProcessPool:
            raise InputError(
                "campaign: a worker process was killed (too little memory?); the same call goes "
                "on where it was, try fewer workers"
            ) from None
        except OSError as error:
            raise InputError(f"cannot write {results}: {error.strerror or error}") from error
        except BaseException:
            _kill(pool)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    summary = {
        **summarize(list(done.values())),
        "resumed": resumed,
        "seconds": round(time.monotonic() - started, 1),
        "workers": workers,
        "seed": seed,
        "sources": sources,
        "versions": versions,
    }
    write_json(folder / SUMMARY, summary)
    return summary

"""A campaign: many random networks, each emitted, simulated and held to the golden model."""

import ast
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ....model.errors import InputError
from ....model.files import write_json
from ....model.knobs import Lanes
from ....model.leftovers import stops_deferred, swept
from .cases import Case, make_case
from .regression import SCENARIOS, STRESS, require_simulator, simulate

#: Results, one JSON line a case, appended as the cases end; and the summary.
RESULTS, SUMMARY = "results.jsonl", "summary.json"
#: Every so many-th case is stressed as well: outputs held for 10,000 cycles take minutes in Icarus.
STRESS_EVERY = 10


def _stress(index: int) -> tuple[str, ...]:
    """The stress that a case has beside the usual scenarios, which it multiplies in cycles."""
    count, rest = divmod(index, STRESS_EVERY)
    return () if rest else (STRESS[count % len(STRESS)],)


def run_case(case: Case, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Emit, simulate and compare one case in `folder`; a JSON-able record that never raises.

    The folder is removed when everything is equal; else it holds the Verilog, the model, the
    logs, ``case.json`` and the waveform.
    """
    from ....hdl.gru.design import Design
    from ....hdl.gru.loading import image
    from ....synth.verilog import emit

    started, folder = time.monotonic(), Path(folder)
    record: dict[str, Any] = {**asdict(case), "ideal_cycles_per_step": case.ideal_cycles}
    try:
        model = case.model()
        record |= {"genome": model.genome.id, "model_hash": model.hash}
        lanes = Lanes(case.lanes_x, case.lanes_h)
        design = Design.of(model, lanes, case.share, case.pipeline, case.weights)
        text = emit(design)
        step, sequence = design.mean_cycles([case.steps] * case.batch)
        record["documented_cycles_per_step"] = step
        if sequence is not None:
            record["documented_cycles_per_sequence"] = sequence
        record["emit_seconds"] = time.monotonic() - started
        report = simulate(
            model,
            text,
            case.codes(),
            out_dir=folder,
            seed=case.seed + case.index,
            scenarios=(*SCENARIOS, *_stress(case.index)),
            stall=case.stall,
            share=case.share,
            loaded=image(design) if case.weights == "load" else None,
            logit_bits=design.planned.classifier.acc_width,
        )
        record |= {
            "passed": report.passed,
            "sequences": report.sequences,
            "steps_compared": report.steps,
            "codes": report.codes,
            "cycles": report.cycles,
            "cycles_per_step": report.cycles_per_step,
            "cycles_per_sequence": report.cycles_per_sequence,
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


def _imported(path: Path, root: Path) -> Iterator[Path]:
    """Modules of the package under `root` that the module `path` imports, anywhere in it."""
    package = path.parent
    for node in ast.walk(ast.parse(path.read_bytes())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = package
        for _ in range(node.level - 1):
            base = base.parent
        base = base.joinpath(*(node.module or "").split("."))
        # `from .folder import module` as well as `from .module import name`.
        names = [base, *(base / alias.name for alias in node.names)]
        for name in names:
            for module in (name.with_suffix(".py"), name / "__init__.py"):
                if module.is_file() and module.is_relative_to(root):
                    yield module


def deciding_modules() -> list[Path]:
    """The modules that decide a campaign's results: those of this folder and all that they import
    in turn. Hardware, integer model, golden and simulation are among them; training, data and
    search are not."""
    here = Path(__file__).resolve()
    root = here.parents[3]
    # The bench is imported by name, in the simulator's process.
    todo = sorted(here.parent.glob("*.py"))
    reached = set(todo)
    while todo:
        for path in _imported(todo.pop(), root):
            if path not in reached:
                reached.add(path)
                todo.append(path)
    return sorted(reached)


@cache
def source_fingerprint() -> str:
    """12 hex digits over :func:`deciding_modules`."""
    root, digest = Path(__file__).resolve().parents[3], hashlib.sha256()
    for path in deciding_modules():
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


def _as_documented(record: dict[str, Any]) -> bool:
    """Whether cycles are as stated: of a step, and with dense layers of a sequence as well."""
    names = ("cycles_per_step", "cycles_per_sequence")
    return all(record.get(n) == record.get(f"documented_{n}", record.get(n)) for n in names)


def summarize(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Totals of a campaign's records."""
    failed = [record for record in records if not record["passed"]]

    def total(key: str) -> int:
        return sum(record.get(key, 0) for record in records)

    measured = [record for record in records if record.get("cycles_per_step")]
    as_documented = sum(map(_as_documented, measured))
    shares = [
        record["ideal_cycles_per_step"] / record["cycles_per_step"]
        for record in measured
        if record["hidden_size"] >= 16
        and record.get("share", "none") == "none"
        and not record.get("dense")
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


def _check_from(low: int, what: str, value: object) -> None:
    """Raise :class:`InputError` where `value` is no integer from `low` on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(f"campaign: {what} must be an integer from {low} on, not {value!r}")


def _recorded(
    results: Path, made_by: Mapping[str, Any], numbers: Collection[int]
) -> dict[int, dict[str, Any]]:
    """Records of the cases `numbers` in the file `results`, by number: those `made_by` the same
    seed, sources and structures."""
    return {
        record["index"]: record
        for record in read_results(results)
        if record.get("index") in numbers
        and {"structures": False, **record}.items() >= made_by.items()
    }


def _run_missing(
    folder: Path,
    made_by: Mapping[str, Any],
    numbers: Sequence[int],
    done: dict[int, dict[str, Any]],
    workers: int,
    progress: bool,
) -> None:
    """Run the cases `numbers` that are not `done`; each is recorded as soon as it ends."""
    results, missing = folder / RESULTS, [index for index in numbers if index not in done]
    # Forked workers would inherit locks of whatever threads the caller runs.
    context = multiprocessing.get_context("spawn")
    with (
        _progress_bar(progress) as bar,
        open(results, "ab") as file,
        swept(),
        ProcessPoolExecutor(workers, mp_context=context, initializer=_depend_on_the_parent) as pool,
    ):
        failed = sum(not record["passed"] for record in done.values())
        task = bar.add_task("campaign", total=len(numbers), completed=len(done), failed=failed)
        try:
            jobs = []
            for index in missing:
                case = make_case(made_by["seed"], index, made_by["structures"])
                # The first ones start the workers.
                with stops_deferred():
                    jobs.append(pool.submit(run_case, case, folder / "cases" / f"{index:05d}"))
            for job in as_completed(jobs):
                record = {**job.result(), **made_by}
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
            _kill(pool)
            raise InputError(f"cannot write {results}: {error.strerror or error}") from error
        except BaseException:
            _kill(pool)
            raise
        finally:
            # Not without waiting: its thread and the interpreter's end would race for its pipe.
            pool.shutdown(cancel_futures=True)


def _progress_bar(shown: bool) -> Progress:
    """A bar on stderr, where that is a terminal."""
    columns = (
        TextColumn("campaign"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not (shown and console.is_terminal))


def campaign(
    n: int,
    *,
    out_dir: str | os.PathLike[str],
    seed: int = 2026,
    workers: int = 2,
    indices: Sequence[int] | None = None,
    progress: bool = True,
    structures: bool = False,
) -> dict[str, Any]:
    """Run `n` cases and return the summary, which is also written to ``out_dir/summary.json``.

    Parameters
    ----------
    n : int
        Number of cases, at least 1. The first ones are forced (all-2, all-8, each gene alone at
        2, lanes 1 to 8, two layers, ...), the rest random. Of a fifth weights are loaded.
    out_dir : path
        Made when missing. ``results.jsonl`` gets a line as soon as a case ends, so that a killed
        campaign goes on where it was; results of another seed or of other sources stay in the
        file and do not count. ``cases/INDEX`` keeps what is needed to look at a failed case.
    seed : int
        Case k is a function of (seed, k) alone.
    workers : int
        Processes.
    indices : cases to run instead of ``range(n)``, to repeat some alone.
    progress : show a bar on stderr
    structures : bool
        Only networks with dense layers around the GRU layers, and given states, all random. Of a
        campaign without it a fourth of those that are not forced.

    The summary has ``cases failed_cases mismatches sequences codes cycles case_seconds seconds
    resumed workers seed sources versions failures``, ``cycles_per_step`` (cases in which it could
    be ``measured``, and those where it was ``as_documented``) and
    ``utilisation_16_units_and_more`` (ideal over measured cycles, the least). Raises
    :class:`InputError` for bad arguments, a damaged results file and missing tools; a failing
    case does not raise.
    """
    started = time.monotonic()
    for what, value, low in (("n", n, 1), ("workers", workers, 1), ("seed", seed, 0)):
        _check_from(low, what, value)
    versions = require_simulator()
    numbers = sorted(set(range(n) if indices is None else indices))
    folder, sources = Path(out_dir).resolve(), source_fingerprint()
    # Proves that the folder can be written before any work is done.
    write_json(folder / SUMMARY, {"seed": seed, "sources": sources, "running": True})
    made_by = {"seed": seed, "sources": sources, "structures": structures}
    done = _recorded(folder / RESULTS, made_by, numbers)
    resumed = len(done)
    _run_missing(folder, made_by, numbers, done, workers, progress)
    summary = {
        **summarize(list(done.values())),
        **made_by,
        "resumed": resumed,
        "seconds": round(time.monotonic() - started, 1),
        "workers": workers,
        "versions": versions,
    }
    write_json(folder / SUMMARY, summary)
    return summary

"""Running the emitted Verilog in Verilator or Icarus under cocotb, against the golden model."""

import io
import json
import logging
import math
import os
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ....hdl.gru.loading import Image
from ....model.errors import InputError
from ....model.files import read_bytes, write_bytes, write_json, write_text
from ....model.integer import IntModel
from ....model.leftovers import scratch
from ...golden import check_codes
from ..memory_files import with_memory_files
from ..simulators import choose, environment, missing_for_icarus, verilator_environment, version
from .harness import JOB_VARIABLE, harness_verilog

#: Scenarios of :func:`simulate`, in the order in which they run.
SCENARIOS = ("back-to-back", "stalls", "reset", "lengths")
#: More of them, which stress the protocol of the streams.
STRESS = ("resets", "held", "withdrawn")
#: Cycles for which outputs are held; resets in the scenario of that name, and how late they come.
HOLD, RESETS, MOMENTS = 10_000, 12, 12


@dataclass
class SimReport:
    """What a simulation found.

    genome, model_hash, seed : what was simulated
    sequences, steps : whole sequences that came out right, and their time steps
    codes : transfers compared and found equal, the sum of ``transfers``
    cycles : simulated clock cycles, resets and idle ends left out
    cycles_per_step : mean from step to step within a sequence, neither side ever stalling, a
        sequence's last step left out; None where no sequence has three steps
    cycles_per_sequence : mean between the ends of two sequences that follow back to back
    transfers : by stream (``layer0.s_h``, ``o_h``, ``o_logits``, ``o_class``)
    mismatches : messages, the cause first; empty when everything is equal
    scenarios : one dict each: name, sequences, steps, cycles
    waveform : path of the FST file of a failure
    versions : of the tools
    """

    genome: str
    model_hash: str
    seed: int
    sequences: int = 0
    steps: int = 0
    codes: int = 0
    cycles: int = 0
    cycles_per_step: float | None = None
    cycles_per_sequence: float | None = None
    transfers: dict[str, int] = field(default_factory=dict)
    mismatches: list[str] = field(default_factory=list)
    scenarios: list[dict[str, Any]] = field(default_factory=list)
    waveform: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether everything was equal, and something was compared at all."""
        return not self.mismatches and self.codes > 0

    def add(self, scenario: dict[str, Any]) -> None:
        """Count what the bench says of a scenario."""
        self.sequences += scenario["sequences"]
        self.steps += scenario["steps"]
        self.cycles += scenario["cycles"]
        for label, count in scenario["transfers"].items():
            self.transfers[label] = self.transfers.get(label, 0) + count
        if scenario["cycles_per_step"] is not None:
            self.cycles_per_step = scenario["cycles_per_step"]
        if scenario["cycles_per_sequence"] is not None:
            self.cycles_per_sequence = scenario["cycles_per_sequence"]
        shown = ("name", "sequences", "steps", "cycles")
        self.scenarios.append({key: scenario[key] for key in shown})

    def to_json(self) -> dict[str, Any]:
        """All fields, and ``passed``, for a report file."""
        return {"passed": self.passed, **asdict(self)}


def require_simulator(name: str = "icarus") -> dict[str, str]:
    """Versions of simulator `name` and of cocotb. Raises :class:`InputError` where one is
    missing."""
    name = choose(name)
    try:
        import cocotb
        import cocotb_tools.runner  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"cocotb: not installed ({error}); install it (pip install 'genogate[sim]')"
        ) from None
    return {name: version(name), "cocotb": cocotb.__version__}


def build_scenarios(
    batch: int,
    steps: int,
    hidden: int,
    *,
    names: Sequence[str] = SCENARIOS,
    seed: int,
    stall: float = 0.3,
    lengths: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """The job's scenarios (see :mod:`.bench`) for `batch` sequences of `steps`, or of `lengths`.

    ``back-to-back`` puts all sequences through without a pause; ``stalls`` pauses at random on all
    four ports; ``reset`` resets twice in mid-sequence, then expects fresh results; ``lengths``
    mixes sequences of one step and more. ``resets`` resets :data:`RESETS` times, at any moment;
    ``held`` holds each output once for :data:`HOLD` cycles; ``withdrawn`` offers features that are
    taken back before they are taken. Raises :class:`InputError` for an unknown name.
    """
    drawn = _Scenarios(seed, batch, steps, hidden, stall, lengths)
    return [drawn.scenario(name) for name in names]


class _Scenarios:
    """Draws the scenarios, one after the other; arguments as for :func:`build_scenarios`."""

    def __init__(
        self,
        seed: int,
        batch: int,
        steps: int,
        hidden: int,
        stall: float,
        lengths: Sequence[int] | None,
    ) -> None:
        self.chooser = random.Random(f"{seed} scenarios")
        self.batch, self.steps, self.hidden, self.stall = batch, steps, hidden, stall
        self.lengths = lengths

    @staticmethod
    def segment(
        sequences: list[tuple[int, int]], reset_after: int | None = None, **more: int
    ) -> dict[str, Any]:
        """Sequences that go through one after the other, up to a reset."""
        return {"sequences": sequences, "reset_after": reset_after, **more}

    def pick(self) -> int:
        """Any of the sequences."""
        return self.chooser.randrange(self.batch)

    def whole(self, k: int) -> tuple[int, int]:
        """Sequence `k` with all its steps."""
        return k, self.steps if self.lengths is None else int(self.lengths[k])

    def scenario(self, name: str) -> dict[str, Any]:
        """The scenario `name`. Raises :class:`InputError` for an unknown one."""
        if name in STRESS:
            return self.stress(name)
        chooser, batch, whole, pause = self.chooser, self.batch, self.whole, self.stall
        if name == "back-to-back":
            pause, segments = 0.0, [self.segment([whole(k) for k in range(batch)])]
        elif name == "stalls":
            # From the end, so that a second look falls on other sequences where there are many.
            last = [whole(batch - 1 - k % batch) for k in range(min(batch, 4))]
            segments = [self.segment(last)]
        elif name == "reset":
            pause = self.stall / 2
            moments = 2 * self.steps * self.hidden
            segments = [
                *(
                    self.segment(
                        [whole(self.pick()), whole(self.pick())], chooser.randrange(moments)
                    )
                    for _ in range(2)
                ),
                self.segment([whole(self.pick())]),
            ]
        elif name == "lengths":
            pause = self.stall / 2
            some = [1, chooser.randint(1, self.steps), 1, min(2, self.steps)]
            chooser.shuffle(some)
            segments = [self.segment([(self.pick(), length) for length in some])]
        else:
            names = " ".join((*SCENARIOS, *STRESS))
            raise InputError(f"scenario {name!r}: the names are {names}")
        return {"name": name, "stall": pause, "segments": segments}

    def stress(self, name: str) -> dict[str, Any]:
        """The scenario `name` of :data:`STRESS`."""
        chooser, segment = self.chooser, self.segment
        pause = self.stall / 2 if name == "resets" else 0.0
        # Short sequences, so that random moments fall into their ends too.
        some = [chooser.randint(1, min(2, self.steps)) for _ in range(4)]
        segments = [segment([(self.pick(), length) for length in some])]
        more: dict[str, float] = {}
        if name == "resets":
            moments = [int(2 ** chooser.uniform(0, MOMENTS)) for _ in range(RESETS)]
            cut = [segment(segments[0]["sequences"], reset_in=moment) for moment in moments]
            segments = [*cut, *segments]
        elif name == "held":
            more = {"hold": HOLD}
        else:
            more = {"withdraw": 0.5}
        return {"name": name, "stall": pause, "segments": segments, **more}


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Let cocotb's runner start the simulator under coreutils' timeout, where there is one."""
    variable = "SIM_CMD_PREFIX"
    if variable in os.environ or shutil.which("timeout") is None:
        yield
        return
    os.environ[variable] = f"timeout --kill-after=10 {math.ceil(seconds)}"
    try:
        yield
    finally:
        del os.environ[variable]


def _verilog_text(verilog: str | os.PathLike[str]) -> str:
    """`verilog` itself, or what the file holds that it names."""
    if isinstance(verilog, str) and "\n" in verilog:
        return verilog
    try:
        return read_bytes(verilog).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{verilog}: not a Verilog text file ({error})") from None


def _error_line(log: Path, words: Sequence[str]) -> str:
    """The first line of `log` that holds one of `words`, else its last line."""
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    hits = [line for line in lines if any(word in line for word in words)]
    return (hits or lines[-1:] or ["no output"])[0][:300]


#: cocotb rewrites the assertions of every module that the simulator loads, NumPy's too, which takes
#: longer than most simulations; the bench says all that there is to say itself.
AS_WRITTEN = {"COCOTB_REWRITE_ASSERTION_FILES": ""}
#: Verilator's options: the bench has a clock of its own, and is not written for linters.
VERILATOR_OPTIONS = ("--timing", "-Wno-lint", "-Wno-style", "-CFLAGS", "-std=c++20")


def _run_job(
    folder: Path, job: dict[str, Any], *, waves: bool, timeout_s: float, simulator: str
) -> dict[str, Any]:
    """Compile and simulate in `folder`; the bench's result, in any case with ``mismatches``."""
    if simulator == "icarus":
        # Icarus leaves its temporary files where it is killed.
        with scratch() as temporary, environment({"TMPDIR": str(temporary)}):
            return _run_in(folder, folder, job, waves, timeout_s, simulator)
    # Precompiled headers of other options would stop the compiler, and are large.
    build = folder / "verilated"
    shutil.rmtree(build, ignore_errors=True)
    try:
        with verilator_environment():
            return _run_in(folder, build, job, waves, timeout_s, simulator)
    finally:
        shutil.rmtree(build, ignore_errors=True)


def _run_in(
    folder: Path, build: Path, job: dict[str, Any], waves: bool, timeout_s: float, simulator: str
) -> dict[str, Any]:
    from cocotb_tools.runner import get_runner

    results, result = folder / "results.xml", Path(job["result"])
    for stale in (results, result):
        stale.unlink(missing_ok=True)
    write_json(folder / "job.json", job)
    runner: Any = get_runner(simulator)
    runner.log.setLevel(logging.CRITICAL)
    try:
        runner.build(
            sources=[folder / "gru.v", folder / "bench.v"],
            hdl_toplevel="bench",
            build_dir=build,
            always=True,
            build_args=list(VERILATOR_OPTIONS) if simulator == "verilator" else [],
            waves=waves,
            timescale=("1ns", "1ps"),
            log_file=folder / "build.log",
        )
    except (RuntimeError, SystemExit):
        line = _error_line(folder / "build.log", ("error", "syntax"))
        return {"scenarios": [], "mismatches": [f"the Verilog does not compile: {line}"]}
    broken = None
    # The exit code is not to be trusted in either direction; the two result files are.
    with _limited(timeout_s):
        try:
            runner.test(
                test_module="genogate.sim.rtl.network.bench",
                hdl_toplevel="bench",
                build_dir=build,
                test_dir=folder,
                results_xml=str(results.resolve()),
                waves=waves,
                seed=1,
                extra_env={JOB_VARIABLE: str(folder / "job.json"), **AS_WRITTEN},
                log_file=folder / "sim.log",
            )
        except (RuntimeError, SystemExit) as error:
            broken = f"simulator: {error}"
    return _outcome_of(folder, results, result, broken, timeout_s)


def _outcome_of(
    folder: Path, results: Path, result: Path, broken: str | None, timeout_s: float
) -> dict[str, Any]:
    """The bench's `result`, with ``mismatches``: also where cocotb's `results` say that a test
    failed, the simulator is `broken`, or either file is missing."""
    try:
        cases = list(ElementTree.parse(results).getroot().iter("testcase"))
        failed = [
            case
            for case in cases
            if any(case.find(tag) is not None for tag in ("failure", "error", "skipped"))
        ]
        outcome: dict[str, Any] = json.loads(result.read_text())
    except (OSError, ValueError, ElementTree.ParseError):
        if broken and broken.endswith((" 124", " 137")):
            reason = f"the simulator was stopped after {timeout_s:g} s"
        else:
            reason = _error_line(folder / "sim.log", ("Error: ", "error: ", "SimFailure"))
        reason = reason if "***" not in reason else "the simulator ended before the bench"
        return {"scenarios": [], "mismatches": [f"the bench broke: {reason} (see sim.log)"]}
    outcome["mismatches"] = [m for s in outcome["scenarios"] for m in s["mismatches"]]
    if (failed or not cases or broken) and not outcome["mismatches"]:
        outcome["mismatches"] = [f"the bench failed without a mismatch ({broken or 'see sim.log'})"]
    return outcome


def _write_sources(
    folder: Path,
    model: IntModel,
    verilog: str,
    harness: str,
    codes: np.ndarray,
    loaded: Image | None,
) -> None:
    """What a simulation reads: network, bench and memory files, model and input codes."""
    write_text(folder / "gru.v", with_memory_files(verilog, folder))
    write_text(folder / "bench.v", harness)
    if loaded is not None:
        write_text(folder / "gru_weights.hex", loaded.text)
    model.save(folder / "model.safetensors")
    buffer = io.BytesIO()
    np.save(buffer, codes)
    write_bytes(folder / "codes.npy", buffer.getvalue())


def simulate(
    model: IntModel,
    verilog: str | os.PathLike[str],
    codes: np.ndarray,
    *,
    out_dir: str | os.PathLike[str],
    seed: int = 2026,
    scenarios: Sequence[str] = SCENARIOS,
    stall: float = 0.3,
    waves_on_failure: bool = True,
    timeout_s: float = 1800.0,
    share: str = "none",
    simulator: str = "icarus",
    lengths: np.ndarray | None = None,
    loaded: Image | None = None,
    logit_bits: int = 0,
) -> SimReport:
    """Hold Verilog to the golden results of `model`: every code of every operator.

    Parameters
    ----------
    model : what the Verilog must compute
    verilog : the emitted text (a string with line breaks) or its file; the top module is ``gru``
    codes : int [batch, steps, features], input sequences
    out_dir : made when missing; receives the build, the logs and, on failure, ``failure.fst``
    seed : of stalls, reset moments and lengths; simulations with equal arguments are equal
    scenarios : names from :data:`SCENARIOS` and :data:`STRESS`
    stall : chance of a pause after a transfer, 0 to less than 1
    waves_on_failure : repeat the failing scenario with a waveform
    timeout_s : a simulator that runs longer is stopped, and the run has failed
    share : what shares hardware in the Verilog, a value of the knob
    simulator : 'icarus' (four states) or 'verilator' (two states, many times as fast)
    lengths : steps of each sequence, where they differ
    loaded : the weights that are loaded after each reset, of a network that has none of its own
    logit_bits : width of its logits, where that is more than `model` needs

    The first of ``mismatches`` reads ``layer 0 step 41: s_h[3] rtl -13 != golden -12 (stalls,
    genome 9f3c..., seed 2026)`` and names, at the earliest step and unit, the operator that comes
    first in dataflow order. Raises :class:`InputError` for bad arguments and missing tools; a
    Verilog that fails, hangs or does not compile is a report with mismatches.
    """
    started = time.monotonic()
    report = SimReport(model.genome.id, model.hash, seed, versions=require_simulator(simulator))
    if not 0 <= stall < 1:
        raise InputError(f"stall: {stall} is not within 0 to less than 1")
    codes = check_codes(model, codes)
    folder = Path(out_dir).resolve()
    job = _job(folder, model, codes, scenarios, seed, stall, lengths)
    harness = harness_verilog(model, share, loaded=loaded, logit_bits=logit_bits)
    _write_sources(folder, model, _verilog_text(verilog), harness, codes, loaded)
    _simulated(report, folder, job, waves_on_failure, timeout_s, simulator)
    report.seconds = time.monotonic() - started
    return report


def _job(
    folder: Path,
    model: IntModel,
    codes: np.ndarray,
    scenarios: Sequence[str],
    seed: int,
    stall: float,
    lengths: np.ndarray | None,
) -> dict[str, Any]:
    """What the bench is told."""
    batch, steps, _ = codes.shape
    return {
        "model": str(folder / "model.safetensors"),
        "codes": str(folder / "codes.npy"),
        "seed": seed,
        "result": str(folder / "result.json"),
        "scenarios": build_scenarios(
            batch,
            steps if lengths is None else int(lengths.min()),
            model.layers[-1].hidden_size,
            names=scenarios,
            seed=seed,
            stall=stall,
            lengths=None if lengths is None else lengths.tolist(),
        ),
    }


def _simulated(
    report: SimReport,
    folder: Path,
    job: dict[str, Any],
    waves_on_failure: bool,
    timeout_s: float,
    simulator: str,
) -> None:
    """Run the job in `folder`, and count into `report` what comes out."""
    for name in ("failure.fst", "failure.vcd"):
        (folder / name).unlink(missing_ok=True)
    try:
        outcome = _run_job(folder, job, waves=False, timeout_s=timeout_s, simulator=simulator)
    except OSError as error:
        raise InputError(f"cannot simulate in {folder}: {error.strerror or error}") from error
    for part in outcome["scenarios"]:
        report.add(part)
    report.codes = sum(report.transfers.values())
    report.mismatches = outcome["mismatches"]
    if report.mismatches and waves_on_failure and outcome["scenarios"]:
        report.waveform = _waveform(folder, job, len(outcome["scenarios"]), timeout_s, simulator)


def _waveform(
    folder: Path, job: dict[str, Any], count: int, timeout_s: float, simulator: str
) -> str | None:
    """Repeat the first `count` scenarios with a waveform; its path, if there is one now.

    In Icarus wherever it is installed: it shows unknown values, and its file is compressed.
    """
    simulator = simulator if missing_for_icarus() else "icarus"
    again = folder / "waves"
    for name in ("gru.v", "bench.v", "gru_weights.hex"):
        if not (folder / name).exists():
            continue
        write_bytes(again / name, (folder / name).read_bytes())
    job = {**job, "result": str(again / "result.json"), "scenarios": job["scenarios"][:count]}
    _run_job(again, job, waves=True, timeout_s=timeout_s, simulator=simulator)
    names = {"icarus": ("bench.fst", "failure.fst"), "verilator": ("dump.vcd", "failure.vcd")}
    recorded, path = again / names[simulator][0], folder / names[simulator][1]
    if not recorded.exists():
        return None
    os.replace(recorded, path)
    return str(path)

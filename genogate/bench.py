"""``genogate bench``: speeds as ratios measured side by side in one run, asserted nowhere."""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .hdl.gru.design import Design
from .model.checkpoints.floating import Checkpoint
from .model.data.tasks import load_task
from .model.genome import Genome
from .model.integer import IntModel
from .model.knobs import Knobs
from .model.leftovers import scratch
from .model.quantize.calibrate import calibrate
from .model.quantize.quantize import quantize
from .model.zoo import load
from .sim import fast, golden
from .synth.area import forget
from .synth.report import area_report, cheapest
from .synth.runtime_multipliers import runtime_multiplier_cells
from .synth.verilog import emit

ROUNDS = 15


def processor() -> str:
    """What the system calls the processor, and whether it has the widest vectors: how fast a float
    network is beside integers depends on both."""
    try:
        about = Path("/proc/cpuinfo").read_text()
    except OSError:
        about = ""
    name = re.search(r"^model name\s*: (.+)$", about, re.MULTILINE)
    wide = ", AVX-512" if re.search(r"\bavx512f\b", about) else ""
    return (name[1] if name else platform.processor() or platform.machine()) + wide


def _interleaved(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each call, in turn within every round, so drift hits all alike."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _float_network(checkpoint: Checkpoint, x: np.ndarray) -> Callable[[], object]:
    """A call that evaluates the checkpoint in torch on the batch `x`."""
    import torch

    gru = torch.nn.GRU(
        checkpoint.input_size, checkpoint.hidden_size(), checkpoint.layers, batch_first=True
    )
    head = torch.nn.Linear(checkpoint.hidden_size(), checkpoint.classes)
    with torch.no_grad():
        for name, array in checkpoint.tensors.items():
            owner: Any = head if name.startswith("classifier.") else gru
            getattr(owner, name.removeprefix("classifier.")).copy_(torch.tensor(array))
    batch = torch.tensor(x)

    def run() -> object:
        with torch.inference_mode():
            return head(gru(batch)[0][:, -1])

    return run


def bench(report: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Golden and twin against float ``torch.nn.GRU`` on one batch and one thread each; emit time;
    area time cold and cached; INT8 cells with constant against run-time 16-bit multipliers.

    One BLAS thread is the caller's business (``OMP_NUM_THREADS=1`` before NumPy is imported);
    the command sees to it.
    """
    import torch

    torch.set_num_threads(1)
    task, checkpoint = load_task("digits-row"), load("digits-row")
    calibration = calibrate(checkpoint, task.x_train)
    x = np.concatenate([task.x_train, task.x_val, task.x_test])
    knobs = Knobs()
    model = quantize(calibration, Genome.uniform(8), knobs, cheapest=cheapest)
    codes = model.quantize_input(x)
    float_network = _float_network(checkpoint, x)

    def new_units() -> object:
        for layer in calibration.layers:
            layer.units.clear()
        return quantize(calibration, Genome.uniform(8), knobs)

    report(f"golden, its compiled twin and torch on {len(x)} sequences, one thread each")
    seconds = _interleaved(
        {
            "golden": lambda: golden.run(model, codes),
            # As searches run it: what they and float torch give here is the logits.
            "twin": lambda: fast.run(model, codes, every=False),
            "torch": float_network,
            "quantize": lambda: quantize(calibration, Genome.uniform(8), Knobs(activation="table")),
            "known": lambda: quantize(calibration, Genome.uniform(8), knobs, cheapest=cheapest),
            "new": new_units,
        }
    )
    result: dict[str, Any] = {
        "machine": f"{processor()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}",
        "sequences": len(x),
        "sequences_per_second": {k: len(x) / seconds[k] for k in ("golden", "twin", "torch")},
        "golden_over_torch": seconds["torch"] / seconds["golden"],
        "twin_over_torch": seconds["torch"] / seconds["twin"],
        "quantize_seconds": seconds["quantize"],
        "quantize_known_units_seconds": seconds["known"],
        "quantize_new_units_seconds": seconds["new"],
    }
    report("emitting Verilog")
    result["emit_seconds"] = statistics.median(
        _timed(lambda: emit(Design.of(model, **knobs.hardware)))[0] for _ in range(3)
    )
    report("area with an empty cache, then cached")
    result |= _area(model, knobs)
    report("INT8 with run-time 16-bit multipliers")
    constant, runtime = runtime_multiplier_cells(Design.of(model, **knobs.hardware))
    result["cells_constant_multipliers"], result["cells_runtime_multipliers"] = constant, runtime
    result["runtime_over_constant"] = runtime / constant
    return result


def _area(model: IntModel, knobs: Knobs) -> dict[str, Any]:
    """Seconds of an area report with an empty cache and with a full one, and the tool's version."""
    cache_before = os.environ.get("GENOGATE_CACHE")
    with scratch() as folder:
        os.environ["GENOGATE_CACHE"] = str(Path(folder))
        forget()
        try:
            cold, area = _timed(lambda: area_report(Design.of(model, **knobs.hardware)))
            cached = [
                _timed(lambda: area_report(Design.of(model, **knobs.hardware)))[0] for _ in range(5)
            ]
            rows = [
                _timed(lambda: area_report(Design.of(model, **knobs.hardware), flat=False))[0]
                for _ in range(5)
            ]
        finally:
            if cache_before is None:
                del os.environ["GENOGATE_CACHE"]
            else:
                os.environ["GENOGATE_CACHE"] = cache_before
    return {
        "area_cold_seconds": cold,
        "area_cached_seconds": statistics.median(cached),
        "area_rows_cached_seconds": statistics.median(rows),
        "yosys": area.yosys_version,
    }

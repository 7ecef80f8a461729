"""The least silicon for each task: the best networks at hand with one adder for all and state in
latches, against INT8 with a unit for each operator and state in flip-flops."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from genogate.model import zoo
from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.knobs import Knobs
from genogate.network import Network, build_network
from genogate.synth.cells import roms
from genogate.synth.targets.cell_report import standard_cell_report

from .search import table

Say = Callable[[str], None]
#: Networks that lose at most half a point against INT8, judged by validation over three seeds
#: (``docs/results/experiments.md``): task, genes, bits of the input, units.
BEST = (
    ("digits-row", "4,4,4,3,2,3,4,5,6,3,3,8,8,8,6,5,4", 6, 32),
    ("digits-row", "2,2,4,2,2,4,8,8,8,8,8,8,8,8,8,8,8", 7, 20),
    ("kws4", "2,2,2,2,2,2,7,7,7,7,7,7,7,7,7,7,7", 8, 32),
    ("kws4", "2,2,2,2,2,2,8,8,8,7,5,8,8,8,8,8,8", 7, 32),
    ("kws10", "2,2,2,2,2,2,8,8,8,8,8,8,8,8,8,8,8", 8, 48),
    ("kws10", "3,3,3,2,3,2,3,3,3,8,4,5,8,8,5,5,5", 6, 64),
    ("mnist-row", "2,2,3,2,2,3,8,8,8,8,8,8,8,8,8,8,8", 8, 48),
)
#: INT8 before hardware could be shared and memories were built of latches, um^2.
BEFORE = {"digits-row": 100_117, "kws10": 189_285, "kws4": 217_000}
#: What the best networks are to save against that.
AIM = 0.75


def cut(checkpoint: Checkpoint, units: int) -> Checkpoint:
    """A network of the first `units` units of a layer, for its area alone: it is not trained."""
    hidden = checkpoint.hidden_size(0)
    tensors = dict(checkpoint.tensors)
    for name, value in tensors.items():
        if name == "classifier.weight":
            tensors[name] = value[:, :units]
        elif name.endswith("_l0"):
            rows = value.reshape(3, hidden, *value.shape[1:])[:, :units]
            if name == "weight_hh_l0":
                rows = rows[:, :, :units]
            tensors[name] = rows.reshape(3 * units, *rows.shape[2:])
    return Checkpoint({name: value.copy() for name, value in tensors.items()}, checkpoint.info)


def network_of(task: str, genes: str, units: int, knobs: Knobs, say: Say) -> Network:
    """A network of `units` units: the shipped one, or its first units."""
    shipped = zoo.load(task)
    if shipped.hidden_size(0) == units:
        return build_network(genome=genes, task=task, checkpoint=None, knobs=knobs, say=say)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{task}-{units}.safetensors")
        cut(shipped, units).save(path)
        return build_network(genome=genes, task=task, checkpoint=str(path), knobs=knobs, say=say)


def cases(say: Say) -> dict[str, Callable[[], dict[str, Any]]]:
    """What measures INT8 of each task, then the best networks, by name."""

    def int8(task: str) -> dict[str, Any]:
        network = network_of(task, "int8", zoo.load(task).hidden_size(0), Knobs(), say)
        return _row(network, task, "int8", 8, "none", "flops", say)

    def best(task: str, genes: str, bits: int, units: int) -> dict[str, Any]:
        knobs = Knobs(share="all", input_bits=bits)
        network = network_of(task, genes, units, knobs, say)
        return _row(network, task, genes, bits, "all", "latches", say)

    tasks = dict.fromkeys(task for task, *_ in BEST)
    return {f"{task}-int8": partial(int8, task) for task in tasks} | {
        f"{of[0]}-{of[1]}-{of[3]}": partial(best, *of) for of in BEST
    }


def _row(
    network: Network, task: str, genes: str, bits: int, share: str, memories: str, say: Say
) -> dict[str, Any]:
    report = standard_cell_report(network.design, memories, progress=say).to_json()
    return {
        "task": task,
        "genes": genes,
        "input_bits": bits,
        "units": network.model.layers[0].hidden_size,
        "share": share,
        "memories": memories,
        "roms": roms.VERSION,
        "cycles": network.design.cycles_per_step,
        **{f"{key}_um2": report[f"{key}_um2"] for key in ("logic", "rom")},
        "um2": report["total_with_latches_um2" if memories == "latches" else "total_um2"],
    }


def render(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    int8 = {row["task"]: row["um2"] for row in rows if row["genes"] == "int8"}
    body = []
    for row in rows:
        before = BEFORE.get(row["task"])
        body.append(
            (
                row["task"],
                row["genes"] if row["genes"] == "int8" else f"`{row['genes']}`",
                row["input_bits"],
                row["units"],
                f"{row['share']}, {row['memories']}",
                f"{row['cycles']:,}",
                f"{row['um2']:,.0f}" + mark(row),
                f"{100 * (row['um2'] / int8[row['task']] - 1):+.0f} %",
                "" if before is None else f"{100 * (row['um2'] / before - 1):+.0f} %",
            )
        )
    least = {
        task: min(row["um2"] for row in rows if row["task"] == task) / BEFORE[task] - 1
        for task in BEFORE
        if task in int8
    }
    return [
        "### The least silicon for each task",
        "",
        "Networks that lose at most half a point against INT8 on validation, mean of three seeds, "
        "trained for their bits ([experiments](experiments.md)). Areas are measured on weights "
        "that were not: those of the shipped network, or of its first units, quantised. The "
        "last column is against INT8 as it was before hardware could be shared: "
        + ", ".join(f"{task} {um2:,}" for task, um2 in BEFORE.items())
        + ".",
        "",
        *table(
            (
                "task",
                "genes",
                "input bits",
                "units",
                "share, memories",
                "cycles a step",
                "um^2",
                "against INT8",
                "against INT8 before",
            ),
            body,
        ),
        *older(rows),
        f"The aim was -{AIM:.0%}: "
        + ", ".join(
            f"{task} {100 * value:+.0f} %{'' if value <= -AIM else ' (missed)'}"
            for task, value in least.items()
        )
        + ".",
        "",
    ]


def mark(row: Mapping[str, Any]) -> str:
    """A star behind a row that was measured on older hardware."""
    return " *" if "older" in row else ""


def older(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a star means, where there is one."""
    if not any("older" in row for row in rows):
        return []
    return [
        "\\* Measured before constants were written as rows and columns that share their ORs, "
        "which take 10 to 20 % less.",
        "",
    ]

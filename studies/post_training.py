"""The post-training table: homogeneous genomes under every knob, accuracy, size and cells.

One row per (dense_output, granularity, multiplier_terms, width), measured on several seeds; the
default knobs were chosen from its validation column.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from genogate.hdl.gru.design import Design
from genogate.model.checkpoints.floating import Checkpoint, accuracy
from genogate.model.data.tasks import Task, load_task
from genogate.model.genome import MAX_BITS, MIN_BITS, Genome
from genogate.model.integer import IntModel
from genogate.model.knobs import Knobs
from genogate.model.quantize.calibrate import Calibration, calibrate
from genogate.model.quantize.quantize import quantize
from genogate.model.zoo import load
from genogate.sim import golden
from genogate.synth.area import measure
from genogate.synth.report import area_report, as_built, cheapest, prepare
from genogate.synth.yosys import find

#: Shipped checkpoints of digits-row; the seed is also that of the split.
SEEDS = {0: "digits-row", 1: "digits-row-seed1", 2: "digits-row-seed2"}
GRID = tuple(itertools.product(("gene", "8"), ("tensor", "channel"), (1, 2, None)))


def _score(model: IntModel, x: np.ndarray, y: np.ndarray) -> float:
    return float((golden.run(model, model.quantize_input(x)).classes == y).mean())


def ptq_table(
    widths: Sequence[int] = tuple(range(MAX_BITS, MIN_BITS - 1, -1)),
    seeds: Sequence[int] = tuple(SEEDS),
    report: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """All rows: ``{"float": [...], "rows": [...]}`` with per-seed lists, accuracies as shares.

    Each row: ``dense_output, granularity, multiplier_terms, bits``; ``val, test, size_bits``, lists
    in the order of `seeds`; ``cells, memory_bits`` of the first seed's network. Activations are
    tables, so that the rows differ by the knobs alone. Modules of all networks are synthesised
    together.
    """
    material: list[tuple[Task, Checkpoint, Calibration]] = []
    for seed in seeds:
        task, checkpoint = load_task("digits-row", seed), load(SEEDS[seed])
        material.append((task, checkpoint, calibrate(checkpoint, task.x_train)))
    cases = [
        (
            Knobs(
                dense_output=output,
                granularity=granularity,
                multiplier_terms=terms,
                activation="table",
            ),
            bits,
        )
        for output, granularity, terms in GRID
        for bits in widths
    ]
    rows: list[dict[str, Any]] = []
    first: list[IntModel] = []
    for knobs, bits in cases:
        row = [quantize(calibration, Genome.uniform(bits), knobs) for _, _, calibration in material]
        tasks = [task for task, _, _ in material]
        rows.append(
            {
                "dense_output": knobs.dense_output,
                "granularity": knobs.granularity,
                "multiplier_terms": knobs.multiplier_terms,
                "bits": bits,
                "val": [_score(m, t.x_val, t.y_val) for m, t in zip(row, tasks, strict=True)],
                "test": [_score(m, t.x_test, t.y_test) for m, t in zip(row, tasks, strict=True)],
                "size_bits": [model.size_bits for model in row],
            }
        )
        first.append(row[0])
        report(f"Evaluating settings: {len(rows)} of {len(cases)}")
    prepare([Design.of(model) for model in first], report)
    for number, (row_data, model) in enumerate(zip(rows, first, strict=True), 1):
        area = area_report(Design.of(model), flat=False)
        row_data["cells"] = area.total.cells
        row_data["memory_bits"] = area.total.memory_bits
        report(f"Adding up cells: {number} of {len(cases)}")
    floats = {
        "val": [accuracy(c, t.x_val, t.y_val) for t, c, _ in material],
        "test": [accuracy(c, t.x_test, t.y_test) for t, c, _ in material],
    }
    return {"seeds": list(seeds), "float": floats, "rows": rows, "yosys": find().version}


def activation_table(
    widths: Sequence[int] = (8, 7, 6, 5, 4),
    report: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Tables against piecewise-linear units at the default knobs, seed 0: ``{"rows": [...]}`` with
    ``bits, activation, entries, val, cells`` (of the three activations together)."""
    task, checkpoint = load_task("digits-row", 0), load(SEEDS[0])
    calibration = calibrate(checkpoint, task.x_train)
    rows = []
    for bits in widths:
        for kind, entries in (("table", 8), ("pwl", 8), ("pwl", 16), ("auto", 8)):
            report(f"Activations: int{bits}, {kind}")
            knobs = Knobs(activation=kind, entries=entries)
            model = quantize(calibration, Genome.uniform(bits), knobs, cheapest=cheapest)
            units = [model.layers[0].ops[name] for name in ("a_r", "a_z", "a_n")]
            cells = sum(area.cells for area in measure([as_built(op) for op in units]))
            rows.append(
                {
                    "bits": bits,
                    "activation": kind,
                    "entries": entries if kind == "pwl" else None,
                    "chosen": [unit.kind for unit in units],
                    "val": _score(model, task.x_val, task.y_val),
                    "cells": cells,
                }
            )
    return {"rows": rows, "yosys": find().version}

"""The emitted Verilog of a network, simulated on sequences of its test part."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .model.aliases import Say
from .model.errors import InputError
from .network import Network, identity_of

if TYPE_CHECKING:
    from .sim.rtl.network.regression import SimReport


def run_sim(
    network: Network,
    *,
    sequences: int | None,
    seed: int,
    out: str | os.PathLike[str] | None,
    say: Say,
    simulator: str | None = None,
) -> tuple[SimReport, Path]:
    """Simulate the emitted Verilog over `sequences` test sequences (None: all of them).

    `simulator` as in :func:`~genogate.sim.rtl.simulators.choose`. Returns the report and its
    folder.
    """
    import numpy as np

    from .hdl.gru.loading import image
    from .model.data.measures import lengths_of
    from .model.files import write_json
    from .sim.rtl.network.regression import simulate
    from .sim.rtl.simulators import choose
    from .synth.verilog import emit

    count = len(network.task.x_test)
    sequences = count if sequences is None else sequences
    if not 1 <= sequences <= count:
        raise InputError(f"sequences: {sequences} is not within 1 to {count}, the test part's size")
    indices = np.sort(np.random.default_rng(seed).choice(count, sequences, replace=False))
    model = network.model
    folder = Path(out) if out else network.folder / "sim"
    simulator = choose(simulator, sequences, say)
    say("Emitting Verilog")
    text = emit(network.design)
    say(f"Simulating {sequences} test sequences in {simulator.capitalize()}")
    x = network.task.x_test[indices]
    design = network.design
    report = simulate(
        model,
        text,
        model.quantize_input(x),
        lengths=lengths_of(x),
        out_dir=folder,
        seed=seed,
        share=network.knobs.share,
        simulator=simulator,
        timeout_s=1800.0 + 5.0 * sequences,
        loaded=image(design) if design.weights == "load" else None,
        logit_bits=design.planned.classifier.acc_width,
    )
    document = {**identity_of(network), "test_indices": indices.tolist(), **report.to_json()}
    write_json(folder / "sim.json", document)
    return report, folder

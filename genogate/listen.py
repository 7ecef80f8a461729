"""Speech through a denoiser: sounds before and after, and what they measure."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .model.aliases import Say
from .model.errors import InputError
from .model.knobs import Knobs
from .network import Network, build_network, genome_name

if TYPE_CHECKING:
    from .model.data.tasks import Task
    from .model.denoise.task import Speech
    from .model.integer import IntModel

#: Steps of 16-bit sound.
FULL_SCALE = 32767
#: The longest recording that is taken, in samples at 8 kHz: ten minutes.
MAX_SAMPLES = 600 * 8000
#: Real gains [..., frames, bands] of normalised features.
Gains = Callable[[np.ndarray], np.ndarray]


def wav_bytes(sound: np.ndarray) -> bytes:
    """A WAV file, mono, 16 bits, 8 kHz, of samples [count] within -1 to 1; others saturate."""
    from .model.denoise.bands import RATE

    samples = np.clip(np.rint(np.asarray(sound) * FULL_SCALE), -FULL_SCALE - 1, FULL_SCALE)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def read_sound(path: str) -> np.ndarray:
    """Samples float64 [count] at 8 kHz of a mono WAV or FLAC file of 8 or 16 kHz.

    Raises :class:`InputError` for a file that is no such sound, is empty, or is longer than ten
    minutes.
    """
    from .model.data.speech_commands import at_8_khz, check_rate, decode
    from .model.denoise.bands import RATE
    from .model.files import regular_file

    data = regular_file(path, 4 * MAX_SAMPLES + 4096).read_bytes()
    samples, rate = decode(data, path)
    check_rate(path, rate)
    samples = at_8_khz(samples, rate)
    if not 0 < len(samples) <= MAX_SAMPLES:
        seconds = len(samples) / RATE
        raise InputError(f"{path}: {seconds:g} seconds of sound, up to 600 are taken")
    return samples


def check_denoiser(task: Task, model: IntModel) -> None:
    """Raises :class:`InputError` unless `model` answers band gains at every step."""
    from .model.denoise.bands import BANDS
    from .model.denoise.task import NAME

    if task.name != NAME or not model.head.every or model.stage is None:
        raise InputError(
            f"listen: the network is of task {task.name:.60} and answers {model.head}; a denoiser "
            f"(task {NAME}) answers {BANDS} gains at every step"
        )


def float_gains(network: Network) -> Gains:
    """Gains of the float network."""
    from .model.checkpoints.floating import forward

    def gains(x: np.ndarray) -> np.ndarray:
        values = forward(network.checkpoint, x).values
        assert values is not None
        return values

    return gains


def integer_gains(model: IntModel) -> Gains:
    """Gains of the integer model: what its codes stand for."""
    from .sim import golden

    def gains(x: np.ndarray) -> np.ndarray:
        codes = golden.run(model, model.quantize_input(x)).codes
        assert codes is not None
        assert model.stage is not None
        return model.stage.real(codes)

    return gains


def enhance(noisy: np.ndarray, gains: Gains, notes: dict[str, Any]) -> np.ndarray:
    """Sounds float64 [..., samples] of `noisy`, its bands weighted by `gains`."""
    from .model.denoise import bands
    from .model.denoise.task import normalised, stepped

    spectra = bands.spectrum(noisy)
    x = normalised(stepped(bands.features(spectra)), notes)
    answered = gains(x.reshape(-1, *x.shape[-2:])).reshape(x.shape)
    return bands.sound_of(bands.apply_gains(spectra, answered), noisy.shape[-1])


def measure(clean: np.ndarray, noisy: np.ndarray, sound: np.ndarray) -> dict[str, float | None]:
    """Means over sequences [sequences, samples]: SI-SDR in dB, its gain over the noisy sound, STOI
    and PESQ; PESQ is None where the package is not installed."""
    from .model.denoise import measures

    ratio = measures.si_sdr(clean, sound)
    try:
        quality: float | None = float(np.nanmean(measures.pesq(clean, sound)))
    except InputError:
        quality = None
    return {
        "si_sdr": float(ratio.mean()),
        "si_sdr_gain": float((ratio - measures.si_sdr(clean, noisy)).mean()),
        "stoi": float(measures.stoi(clean, sound).mean()),
        "pesq": quality,
    }


def versions_of(
    network: Network, genome: str, checkpoint: str | None, say: Say
) -> dict[str, Gains]:
    """The float network, INT8 and `network` itself, by the names that files have. A checkpoint
    whose weights were trained for a genome has no INT8."""
    from .model.checkpoints.floating import RECORD
    from .model.denoise.task import NAME

    versions = {"float": float_gains(network)}
    trained = network.checkpoint.info.get(RECORD) is not None
    if network.model.genome.id != "int8" and not trained:
        int8 = build_network(
            genome="int8", task=NAME, checkpoint=checkpoint, knobs=network.knobs, say=say
        )
        versions["int8"] = integer_gains(int8.model)
    name = genome_name(genome, network.model.genome)
    return versions | {name: integer_gains(network.model)}


def listen(
    sound: str | None,
    *,
    genome: str,
    checkpoint: str | None,
    knobs: Knobs,
    part: str,
    sequences: int,
    files: int,
    out: str | None,
    say: Say,
) -> tuple[dict[str, Any], Path]:
    """What ``genogate listen`` does; returns the record and the folder."""
    from .model.denoise.task import NAME, speech_part
    from .model.files import staged, write_bytes, write_json

    recording = None if sound is None else read_sound(sound)
    network = build_network(genome=genome, task=NAME, checkpoint=checkpoint, knobs=knobs, say=say)
    check_denoiser(network.task, network.model)
    versions = versions_of(network, genome, checkpoint, say)
    notes = network.task.notes
    folder = Path(out) if out else network.folder / "listen"
    record: dict[str, Any] = {"genome": network.model.genome.id, "files": []}
    with staged(folder) as stage:

        def write(name: str, samples: np.ndarray) -> None:
            write_bytes(stage / name, wav_bytes(samples))
            record["files"].append(name)

        if recording is not None:
            stem = Path(sound or "").stem
            write(f"{stem}-before.wav", recording)
            for version, gains in versions.items():
                say(f"{version} listens")
                write(f"{stem}-{version}.wav", enhance(recording, gains, notes))
        else:
            say("Mixing speech and noise")
            speech = speech_part(part, network.task.split_seed)
            record |= {
                "part": part,
                **_compare(speech, versions, notes, sequences, files, write, say),
            }
        write_json(stage / "listen.json", record)
    return record, folder


def _compare(
    speech: Speech,
    versions: dict[str, Gains],
    notes: dict[str, Any],
    sequences: int,
    files: int,
    write: Callable[[str, np.ndarray], None],
    say: Say,
) -> dict[str, Any]:
    """Measures of the first `sequences` of `speech` and sounds of the first `files` of them."""
    from .model.denoise.mixtures import NOISES
    from .model.denoise.task import ideal_sound

    mixed = speech.mixed
    clean, noisy = mixed.clean[:sequences], mixed.noisy[:sequences]
    sounds = {"noisy": noisy, "ideal": ideal_sound(speech, sequences)}
    for version, gains in versions.items():
        say(f"{version} listens")
        sounds[version] = enhance(noisy, gains, notes)
    for index in range(min(files, len(clean))):
        what = f"{index}-{NOISES[mixed.kind[index]]}-{mixed.ratio[index]:.0f}dB"
        write(f"{what}-clean.wav", clean[index])
        for version, sound in sounds.items():
            write(f"{what}-{version}.wav", sound[index])
    say("Measuring")
    means = {version: measure(clean, noisy, sound) for version, sound in sounds.items()}
    return {"sequences": len(clean), "versions": means}

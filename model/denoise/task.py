"""The task ``denoise``: band energies of noisy speech in, band gains out, at every step."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ..data import downloads, speech_commands
from ..data.measures import SI_SDR_GAIN
from ..data.task import Task
from ..errors import InputError
from ..files import read_archive, write_bytes
from . import bands, mixtures
from .bands import BANDS
from .targets import SoundTargets

NAME = "denoise"


@dataclass(frozen=True)
class Speech:
    """Sound of one part, and what a network is given and asked for.

    mixed : the sequences
    x : float32 [sequences, frames, BANDS], logarithmic energies, not normalised
    y : float32 [sequences, frames, BANDS], ideal gains
    """

    mixed: mixtures.Mixtures
    x: np.ndarray
    y: np.ndarray


def speech_part(part: str, seed: int = 0, clips: speech_commands.Sounds | None = None) -> Speech:
    """Sequences of `part` with their features and ideal gains; equal for equal `seed`.

    Raises :class:`InputError` where Speech Commands is missing as sound.
    """
    mixed = mixtures.mixtures(
        speech_commands.speech_sounds() if clips is None else clips, part, seed
    )
    noisy, clean = bands.spectrum(mixed.noisy), bands.spectrum(mixed.clean)
    x, y = stepped(bands.features(noisy)), bands.ideal_gains(clean, noisy)
    return Speech(mixed, x, (np.rint(y * 256) / 256).astype(np.float32))


def ideal_sound(speech: Speech, sequences: int | None = None) -> np.ndarray:
    """Sounds float64 [sequences, samples] behind the ideal gains of the first `sequences`: what no
    network of these bands can better."""
    noisy = speech.mixed.noisy[:sequences]
    spectra = bands.apply_gains(bands.spectrum(noisy), speech.y[:sequences])
    return bands.sound_of(spectra, noisy.shape[-1])


def stepped(x: np.ndarray) -> np.ndarray:
    """Features in steps of 1/64, so that every machine gets the same numbers whatever its FFT does
    with the last bit."""
    return (np.rint(np.asarray(x, np.float64) * 64) / 64).astype(np.float32)


def normalised(x: np.ndarray, notes: dict[str, list[float]]) -> np.ndarray:
    """Features as the network of a task with these `notes` is given them, float32."""
    mean, deviation = (np.asarray(notes[key], np.float32) for key in ("mean", "deviation"))
    return (np.asarray(x, np.float32) - mean) / deviation


def denoise(name: str, seed: int) -> Task:
    """Gains of 24 bands for every frame of noisy speech, 126 frames (2 s) a sequence.

    Features have mean 0 and deviation 1 over the training part. The measure is the gain of SI-SDR
    over the noisy sound, from the spectra (:class:`~.targets.SoundTargets`); sound itself is
    measured by ``genogate listen``.
    """
    arrays = _cached(seed)
    x = {part: arrays[f"x_{part}"] for part in speech_commands.PARTS}
    y = {part: arrays[f"y_{part}"] for part in speech_commands.PARTS}
    mean, deviation = (
        np.round(value, 4) for value in (x["train"].mean((0, 1)), x["train"].std((0, 1)))
    )
    notes = {
        "features": f"log10 of the energies of {BANDS} bands, less mean, over deviation; frames of "
        "32 ms every 16 ms at 8 kHz",
        "mean": mean.tolist(),
        "deviation": deviation.tolist(),
        "targets": "gains of the bands, 0 to 1",
        "split": "speaker-disjoint re-split of the Speech Commands v0.02 test clips, "
        f"{', '.join(mixtures.NOISES)} noise at {mixtures.LEAST_DB:g} to {mixtures.MOST_DB:g} dB",
    }
    x = {part: normalised(value, notes) for part, value in x.items()}
    return Task(
        name,
        seed,
        x["train"],
        y["train"],
        x["val"],
        y["val"],
        x["test"],
        y["test"],
        BANDS,
        notes=notes,
        own_measure=SI_SDR_GAIN,
        targets=partial(sound_targets, seed=seed),
    )


def sound_targets(part: str, seed: int = 0) -> SoundTargets:
    """What the gains of `part` are scored by; those of the training part are not kept on disk."""
    path = downloads.cache_folder() / "denoise" / f"sound-{part}-{_stamp(seed, 'targets')}.npz"
    return _sound_targets(part, seed, path)


@lru_cache(maxsize=4)
def _sound_targets(part: str, seed: int, path: Path) -> SoundTargets:
    """Those that `path` keeps, by which they are remembered too: the data of another cache folder
    may be others."""
    if path.exists():
        with suppress(InputError):
            return SoundTargets.from_arrays(read_archive(path), part)
    mixed = mixtures.mixtures(speech_commands.speech_sounds(), part, seed)
    # In blocks: spectra of all training sequences would need a gigabyte.
    blocks = [
        SoundTargets.of(*(bands.spectrum(v[k : k + 100]) for v in (mixed.clean, mixed.noisy)))
        for k in range(0, len(mixed.clean), 100)
    ]
    targets = SoundTargets.joined(blocks)
    if part != "train":
        _save(targets.arrays(part), path)
    return targets


def _cached(seed: int) -> dict[str, np.ndarray]:
    """Features and gains of all parts, from the cache where they were computed before."""
    stamp = _stamp(seed)
    path = downloads.cache_folder() / "denoise" / f"bands{BANDS}-{stamp}.npz"
    if path.exists():
        with suppress(InputError):
            return read_archive(path)
    clips = speech_commands.speech_sounds()
    arrays: dict[str, np.ndarray] = {}
    for part in speech_commands.PARTS:
        speech = speech_part(part, seed, clips)
        arrays[f"x_{part}"], arrays[f"y_{part}"] = speech.x, speech.y
    _save(arrays, path)
    return arrays


def _save(arrays: dict[str, np.ndarray], path: Path) -> None:
    import io

    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    # Only saves time; a cache that cannot be written must stop nobody.
    with suppress(InputError):
        write_bytes(path, file.getvalue())


def _stamp(seed: int, *modules: str) -> str:
    """16 hex digits of what the arrays depend on: seed, code (that of further `modules` too), and
    the files of the sounds."""
    digest = hashlib.sha256(
        f"{seed} {speech_commands.stamp_of(speech_commands.speech_sources())}".encode()
    )
    for module in ("bands", "mixtures", *modules):
        digest.update((Path(__file__).parent / f"{module}.py").read_bytes())
    return digest.hexdigest()[:16]

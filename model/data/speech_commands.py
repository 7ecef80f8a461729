"""Speech Commands: clips from folders or archives, their log-mel features, nothing trusted."""

import gzip
import hashlib
import io
import tarfile
import wave
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import read_archive, write_bytes
from . import downloads

SPEECH_ARCHIVE = "speech_commands_test_set_v0.02.tar.gz"
SPEECH_URL = f"https://storage.googleapis.com/download.tensorflow.org/data/{SPEECH_ARCHIVE}"
SPEECH_SHA256 = "cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df"
SPEECH_FEATURES = "logmel40_u8.npz"
SPEECH_FOLDERS = ("speech_commands", "speech_commands_test_set_v0.02", ".")

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN, SILENCE = "_unknown_", "_silence_"
#: All words, in the order of their labels.
WORDS = (*KEYWORDS, UNKNOWN, SILENCE)
PARTS = ("train", "val", "test")
#: Shares of the keyword clips whose speakers are tested, and validated.
SPEECH_TEST, SPEECH_VALIDATION = 0.20, 0.15

#: Log-mel features: frames of 40 ms every 20 ms of one second, bands from 20 to 4000 Hz.
FRAMES, BANDS, LOW_HZ, HIGH_HZ = 49, 40, 20.0, 4000.0
#: They are kept as bytes: value = offset + step * byte.
FEATURE_OFFSET, FEATURE_STEP = -14.0, 0.1
#: More clips than any archive of this kind holds, and more bytes than any clip.
MAX_CLIPS, MAX_CLIP_BYTES = 200_000, 1 << 20


@dataclass(frozen=True)
class Clips:
    """Features of spoken words, one second each.

    x : uint8 [clips, 49, 40], log-mel energies, ``-14 + 0.1 x``
    label : int64 [clips], index into :data:`WORDS`
    speaker : int64 [clips], a number per speaker; -1 where nobody speaks
    part : int64 [clips], index into :data:`PARTS`: the speaker-disjoint split that comes with them
    """

    x: np.ndarray
    label: np.ndarray
    speaker: np.ndarray
    part: np.ndarray


def decode(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Samples float64 [count] within -1 to 1, and their rate in Hz, of a WAV or FLAC file.

    Raises :class:`InputError`, which begins with `name`, for anything but whole mono PCM of 16
    bits. FLAC needs soundfile (the ``audio`` extra).
    """
    if data[:4] == b"RIFF":
        try:
            with wave.open(io.BytesIO(data)) as file:
                if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                    raise InputError(
                        f"{name}: {file.getnchannels()} channels of {8 * file.getsampwidth()} "
                        "bits, mono of 16 bits is needed"
                    )
                announced = file.getnframes()
                raw, rate = file.readframes(min(announced, len(data))), file.getframerate()
        except (wave.Error, EOFError, RuntimeError) as error:
            raise InputError(f"{name}: not a WAV file that can be read ({error})") from None
        if len(raw) != 2 * announced:
            raise InputError(
                f"{name}: truncated, {announced} samples were announced and "
                f"{len(raw) // 2} are there"
            )
        return np.frombuffer(raw, "<i2") / 32768, rate
    if data[:4] != b"fLaC":
        raise InputError(f"{name}: neither WAV nor FLAC (begins with {data[:4]!r})")
    try:
        import soundfile
    except (ImportError, OSError):
        raise InputError(
            f"{name}: FLAC needs soundfile, which is not installed: pip install 'genogate[audio]'"
        ) from None
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            if sound.channels != 1 or not 1 <= sound.frames <= MAX_CLIP_BYTES:
                raise InputError(
                    f"{name}: {sound.channels} channels of {sound.frames} samples, "
                    "mono of about one second is needed"
                )
            samples, rate = sound.read(dtype="float64"), sound.samplerate
            announced = sound.frames
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise InputError(f"{name}: not a FLAC file that can be read ({error})") from None
    if len(samples) != announced:
        raise InputError(
            f"{name}: truncated, {announced} samples were announced and {len(samples)} are there"
        )
    return samples, rate


@lru_cache(maxsize=4)
def mel_filters(rate: int, size: int) -> np.ndarray:
    """Triangles [40, size // 2 + 1] over the bins of an FFT of `size` points, even on the mel scale
    (``2595 log10(1 + f / 700)``, HTK), each with peak 1."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (LOW_HZ, HIGH_HZ))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    bins = np.arange(size // 2 + 1) * rate / size
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return np.maximum(0, np.minimum(rising, falling))


def log_mel(samples: np.ndarray, rate: int) -> np.ndarray:
    """Log-mel energies uint8 [49, 40] of one second of samples [rate] at 16 or 8 kHz.

    Frames of 40 ms every 20 ms, periodic Hann window, squared magnitude of the FFT, the triangles
    of :func:`mel_filters`, ``ln(E + 1e-6)``, rounded to steps of 0.1 from -14 on.
    """
    length, hop, size = rate // 25, rate // 50, rate * 8 // 125
    size = 1 << (size - 1).bit_length()
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[::hop][:FRAMES]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    power = np.abs(np.fft.rfft(frames * window, size)) ** 2
    # Without BLAS, whose threads take longer to wake than this takes. A window of half as many
    # samples gathers a quarter of the power.
    energy = np.einsum("fk,bk->fb", power, mel_filters(rate, size)) * (16000 / rate) ** 2
    value = (np.log(energy + 1e-6) - FEATURE_OFFSET) / FEATURE_STEP
    return np.clip(np.rint(value), 0, 255).astype(np.uint8)


def check_rate(name: str, rate: int) -> None:
    """Raises :class:`InputError`, which begins with `name`, unless `rate` is 8 or 16 kHz."""
    if rate not in (8000, 16000):
        raise InputError(f"{name}: {rate} samples a second, 8000 or 16000 are needed")


def at_8_khz(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples at 8 kHz of samples [count] at 8 or 16 kHz, which are filtered and every second
    kept."""
    if rate == 8000:
        return samples
    from scipy.signal import resample_poly

    return np.asarray(resample_poly(samples, 1, 2))


def _second(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Samples float64 [rate] of one second, and their rate, 8000 or 16000 Hz."""
    samples, rate = decode(data, name)
    check_rate(name, rate)
    if not rate // 25 <= len(samples) <= 2 * rate:
        raise InputError(f"{name}: {len(samples)} samples, one second of {rate} is needed")
    # Some published clips are shorter than their second; silence makes it up.
    return np.pad(samples[:rate], (0, max(0, rate - len(samples)))), rate


def _clip_features(data: bytes, name: str) -> np.ndarray:
    return log_mel(*_second(data, name))


def _clip_samples(data: bytes, name: str) -> np.ndarray:
    """Samples int16 [8000] at 8 kHz; sound of 16 kHz is filtered and every second sample kept."""
    samples = at_8_khz(*_second(data, name))
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def _word_and_name(path: str) -> tuple[str, str] | None:
    parts = path.replace("\\", "/").split("/")
    if len(parts) < 2 or parts[-2] not in WORDS or parts[-1].startswith("."):
        return None
    stem, dot, kind = parts[-1].rpartition(".")
    return (parts[-2], stem) if dot and kind.lower() in ("wav", "flac") else None


def _members(source: Path) -> Iterator[tuple[str, str, bytes]]:
    """Word, name and bytes of every clip in a tar archive, or in folders named by word."""
    if source.is_dir():
        for word in WORDS:
            for path in sorted((source / word).glob("*")):
                if (clip := _word_and_name(f"{word}/{path.name}")) and path.is_file():
                    with open(path, "rb") as file:
                        yield *clip, file.read(MAX_CLIP_BYTES + 1)
        return
    try:
        # Read member by member and never unpacked, so no name in it reaches the disk.
        with tarfile.open(source) as archive:
            for member in archive:
                if member.isfile() and (clip := _word_and_name(member.name)):
                    content = archive.extractfile(member)
                    assert content is not None
                    yield *clip, content.read(MAX_CLIP_BYTES + 1)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{source}: not a whole tar archive ({error}), get it again") from None


def speaker_parts(label: np.ndarray, who: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Index into :data:`PARTS` for every clip: speakers in the order `order` are tested until they
    have said 20 % of the keywords, validated until 15 % more, and the rest trains."""
    said = np.bincount(who[(label < len(KEYWORDS)) & (who >= 0)], minlength=int(who.max()) + 1)
    before = np.concatenate([[0], np.cumsum(said[order])[:-1]]) / max(said.sum(), 1)
    part = np.empty(len(said), np.int64)
    part[order] = np.where(before < SPEECH_TEST, 2, before < SPEECH_TEST + SPEECH_VALIDATION)
    return part[who]


@dataclass(frozen=True)
class Sounds:
    """Spoken words as sound, one second each at 8 kHz, in the order and with the parts of
    :class:`Clips`.

    samples : int16 [clips, 8000]
    label, speaker, part : int64 [clips], as in :class:`Clips`
    """

    samples: np.ndarray
    label: np.ndarray
    speaker: np.ndarray
    part: np.ndarray


def _clips_by_name(
    sources: list[Path], read: Callable[[bytes, str], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `read` makes of every clip [clips, ...], and label, speaker and part [clips].

    A clip is called ``SPEAKER_nohash_N``. Speakers are put in order by the SHA-1 of their name,
    clips without one (silence) by the SHA-1 of theirs, so the split is a function of the data.
    """
    clips: dict[tuple[str, str], np.ndarray] = {}
    for source in sources:
        for word, name, data in _members(source):
            where = f"{source}: {word}/{name}"
            if len(data) > MAX_CLIP_BYTES or len(clips) >= MAX_CLIPS:
                raise InputError(f"{where}: larger than any archive of words that is known")
            clips[word, name] = read(data, where)
    names = sorted(clips, key=lambda key: (WORDS.index(key[0]), key[1]))
    if absent := [word for word in KEYWORDS if word not in {key[0] for key in names}]:
        raise InputError(f"{sources[0]}: no clip of {absent[0]!r} in it")
    label = np.array([WORDS.index(word) for word, _ in names])
    # A clip of another word may carry it in front: ``bed_SPEAKER_nohash_N``.
    speakers = [
        name.partition("_nohash")[0].rpartition("_")[2] if word != SILENCE else ""
        for word, name in names
    ]
    ordered = sorted(set(speakers) - {""})
    number = {name: index for index, name in enumerate(ordered)} | {"": -1}
    who = np.array([number[name] for name in speakers])

    def digest(name: str) -> str:
        return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()

    order = np.array(sorted(range(len(ordered)), key=lambda index: digest(ordered[index])))
    part = speaker_parts(label, who, order)
    for index in np.flatnonzero(who < 0):
        share = int(digest(f"{names[index][1]}.wav"), 16) % 100
        part[index] = 2 if share < 20 else int(share < 35)
    return np.stack([clips[key] for key in names]), label, who, part


def clips_of(sources: list[Path]) -> Clips:
    """Features and split of all clips in tar archives, or in a folder with a folder per word.

    Raises :class:`InputError` for a clip that cannot be read or another number of samples.
    """
    return Clips(*_clips_by_name(sources, _clip_features))


def _clips_from_features(path: Path) -> Clips:
    arrays = read_archive(path)
    shapes = {"x": (FRAMES, BANDS), "label": (), "split": (), "speaker": ()}
    for name, shape in shapes.items():
        array = arrays.get(name)
        if array is None or array.dtype.kind not in "iu" or array.shape[1:] != shape:
            raise InputError(f"{path}: array {name!r} of integers [clips, *{shape}] is needed")
        if array.ndim == 0 or len(array) != len(arrays["x"]) or not len(array):
            raise InputError(f"{path}: {name} and x are not of one length")
    if tuple(arrays.get("labels", ())) != WORDS or tuple(arrays.get("splits", ())) != PARTS:
        raise InputError(f"{path}: its labels or splits are not {', '.join(WORDS)}")
    scale = float(arrays.get("lo", np.nan)), float(arrays.get("step", np.nan))
    if not np.allclose(scale, (FEATURE_OFFSET, FEATURE_STEP)) or arrays["x"].dtype != np.uint8:
        raise InputError(f"{path}: x is not in bytes of {FEATURE_OFFSET} + {FEATURE_STEP} x")
    label, part, who = (arrays[name].astype(np.int64) for name in ("label", "split", "speaker"))
    if min(label.min(), part.min()) < 0 or label.max() >= len(WORDS) or part.max() >= len(PARTS):
        raise InputError(f"{path}: a label or split is out of range")
    if who.min() < -1 or who.max() >= MAX_CLIPS:
        raise InputError(f"{path}: a speaker's number is not within -1 to {MAX_CLIPS - 1}")
    return Clips(arrays["x"], label, who, part)


def _save_features(clips: Clips, path: Path) -> None:
    file = io.BytesIO()
    content: dict[str, Any] = {
        "x": clips.x,
        "label": clips.label.astype(np.uint8),
        "split": clips.part.astype(np.uint8),
        "speaker": clips.speaker.astype(np.int32),
        "labels": np.array(WORDS),
        "splits": np.array(PARTS),
        "lo": np.float32(FEATURE_OFFSET),
        "step": np.float32(FEATURE_STEP),
    }
    np.savez_compressed(file, **content)
    # Only saves time; a cache that cannot be written must stop nobody.
    with suppress(InputError):
        write_bytes(path, file.getvalue())


def speech() -> Clips:
    """The canonical test clips of Speech Commands v0.02, split again by speaker.

    Taken from ready features (``logmel40_u8.npz``), else computed from the clips in folders named
    by word, or in tar archives, and kept in the cache. These are the published *test* clips: an
    accuracy on this split must never be compared with published ones.
    """
    if path := downloads.find(SPEECH_FOLDERS, SPEECH_FEATURES):
        return _clips_from_features(path)
    return _computed(speech_sources())


def speech_is_here() -> bool:
    """Whether features or clips of Speech Commands are found without a download."""
    names = (SPEECH_FEATURES, SPEECH_ARCHIVE, KEYWORDS[0])
    return any(downloads.find(SPEECH_FOLDERS, name) for name in names) or any(
        next((root / folder).glob(f"audio*_{KEYWORDS[0]}.tar"), None)
        for root in downloads.roots()
        for folder in SPEECH_FOLDERS
    )


def speech_sounds() -> Sounds:
    """The same clips as sound; about 80 MB. Raises :class:`InputError` where they are missing."""
    return Sounds(*_clips_by_name(speech_sources(), _clip_samples))


def speech_sources() -> list[Path]:
    """The archives or the folder that hold the clips."""
    for root in downloads.roots():
        for folder in SPEECH_FOLDERS:
            if (root / folder / KEYWORDS[0]).is_dir():
                return [root / folder]
            if archives := sorted((root / folder).glob(f"audio*_{KEYWORDS[0]}.tar")):
                return sorted(archives[0].parent.glob("audio*.tar"))
    archive = downloads.find(SPEECH_FOLDERS, SPEECH_ARCHIVE) or downloads.download(
        "Speech Commands",
        SPEECH_ARCHIVE,
        SPEECH_URL,
        SPEECH_SHA256,
        downloads.cache_folder() / "speech_commands" / SPEECH_ARCHIVE,
    )
    return [archive]


def _computed(sources: list[Path]) -> Clips:
    """Features of `sources`, from the cache where they were computed before."""
    cached = downloads.cache_folder() / "speech_commands" / f"logmel40-{stamp_of(sources)}.npz"
    if cached.exists():
        with suppress(InputError):
            return _clips_from_features(cached)
    clips = clips_of(sources)
    _save_features(clips, cached)
    return clips


def stamp_of(sources: list[Path]) -> str:
    """16 hex digits over names, sizes and times of the files in `sources`."""
    digest = hashlib.sha256()
    for source in sources:
        for path in sorted(source.glob("*/*")) if source.is_dir() else [source]:
            record = path.stat()
            digest.update(f"{path} {record.st_size} {record.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]

"""Noisy speech for training and for measuring: words of Speech Commands, four kinds of noise.

Speakers and noises are disjoint between the parts: babble is of the part's own speakers, never of
the one who is heard, background is the part's own share of the data set's noise, and white and pink
noise are drawn anew.
"""

from dataclasses import dataclass

import numpy as np

from ..data import speech_commands
from ..errors import InputError
from .bands import RATE

#: Words of one speaker in a sequence, one second each.
WORDS = 2
#: Kinds of noise, drawn with equal probability.
NOISES = ("white", "pink", "babble", "background")
#: Signal-to-noise ratio in dB, drawn evenly.
LEAST_DB, MOST_DB = -5.0, 15.0
#: Others who talk in babble.
TALKERS = 5
#: Sequences of each part.
COUNTS = {"train": 2400, "val": 240, "test": 300}
#: Level of clean speech in dB of full scale, drawn evenly.
LEVELS = (-36.0, -18.0)


@dataclass(frozen=True)
class Mixtures:
    """Sequences of one part.

    clean, noisy : float32 [sequences, samples], 8 kHz
    kind : int64 [sequences], index into :data:`NOISES`
    ratio : float64 [sequences], signal-to-noise ratio in dB
    """

    clean: np.ndarray
    noisy: np.ndarray
    kind: np.ndarray
    ratio: np.ndarray


def mixtures(clips: speech_commands.Sounds, part: str, seed: int = 0) -> Mixtures:
    """The sequences of `part`; equal for equal `seed`.

    Raises :class:`InputError` where the part has too few speakers or no background noise.
    """
    draw = np.random.RandomState([seed, speech_commands.PARTS.index(part)])
    mine = clips.part == speech_commands.PARTS.index(part)
    spoken = np.flatnonzero(mine & (clips.speaker >= 0))
    background = np.flatnonzero(mine & (clips.speaker < 0))
    by_speaker = [
        np.flatnonzero(mine & (clips.speaker == who)) for who in np.unique(clips.speaker[spoken])
    ]
    able = [members for members in by_speaker if len(members) >= WORDS]
    if len(by_speaker) < TALKERS + 1 or not able or not len(background):
        raise InputError(
            f"denoise: the {part} part has {len(by_speaker)} speakers and {len(background)} clips "
            f"of background noise; at least {TALKERS + 1} and 1 are needed"
        )
    clean, noisy, kinds, ratios = [], [], [], []
    for _ in range(COUNTS[part]):
        members = able[draw.randint(len(able))]
        words = draw.choice(members, WORDS, replace=False)
        speech = clips.samples[words].astype(np.float64).reshape(-1)
        kind = draw.randint(len(NOISES))
        others = spoken[clips.speaker[spoken] != clips.speaker[members[0]]]
        noise = _noise(NOISES[kind], draw, clips, others, background)
        ratio = draw.uniform(LEAST_DB, MOST_DB)
        level = 10 ** (draw.uniform(*LEVELS) / 20)
        speech *= level / _size(speech)
        mixed = speech + noise * (level / _size(noise) * 10 ** (-ratio / 20))
        # 16-bit sound ends at full scale.
        peak = max(1.0, np.abs(mixed).max())
        clean.append((speech / peak).astype(np.float32))
        noisy.append((mixed / peak).astype(np.float32))
        kinds.append(kind)
        ratios.append(ratio)
    return Mixtures(np.stack(clean), np.stack(noisy), np.array(kinds), np.array(ratios))


def _size(sound: np.ndarray) -> float:
    """Root mean square; of silence, one step of 16-bit sound."""
    return max(float(np.sqrt(np.mean(sound**2))), 2.0**-15)


def _noise(
    kind: str,
    draw: np.random.RandomState,
    clips: speech_commands.Sounds,
    others: np.ndarray,
    background: np.ndarray,
) -> np.ndarray:
    """Noise float64 [WORDS * RATE] of any size."""
    if kind == "white":
        return draw.standard_normal(WORDS * RATE)
    if kind == "pink":
        spectrum = np.fft.rfft(draw.standard_normal(WORDS * RATE))
        spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
        return np.fft.irfft(spectrum, WORDS * RATE)
    if kind == "babble":
        talk = clips.samples[draw.choice(others, TALKERS * WORDS)].astype(np.float64)
        # Nobody begins at the same moment.
        voices = talk.reshape(TALKERS, -1)
        voices /= np.sqrt(np.mean(voices**2, -1, keepdims=True)) + 2.0**-15
        return sum(np.roll(v, draw.randint(len(v))) for v in voices)
    return clips.samples[draw.choice(background, WORDS)].astype(np.float64).reshape(-1)

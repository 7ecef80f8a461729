"""SI-SDR of a denoiser straight from its gains, without making the sound.

Behind gains g the spectrum is ``g N``, N the noisy one. With triangles w_b of neighbouring bands,
``<C, g N>`` is linear in the gains of a frame and ``|g N|^2`` a quadratic form with one side
diagonal, so 71 numbers a frame hold all that SI-SDR needs. Frames that overlap are taken as
consistent, which after gains they are not quite: the error counts a little too much of what
overlap-add removes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from . import bands

#: A score of 1 is so many dB, so that a point, a hundredth, is one dB.
FULL_DB = 100.0


@dataclass(frozen=True)
class SoundTargets:
    """What the gains of sequences are scored by; sliced as an array.

    along : float32 [sequences, frames, BANDS], ``<C, w_b N>``
    power : float32 [sequences, frames, BANDS], ``|w_b N|^2``
    between : float32 [sequences, frames, BANDS - 1], ``<w_b N, w_b+1 N>``
    clean : float64 [sequences], ``|C|^2``
    """

    along: np.ndarray
    power: np.ndarray
    between: np.ndarray
    clean: np.ndarray

    @classmethod
    def of(cls, clean: np.ndarray, noisy: np.ndarray) -> SoundTargets:
        """Of spectra complex128 [sequences, frames, FRAME / 2 + 1]."""
        # A real signal's spectrum has every bin twice, but for the first and the last.
        count = np.full(clean.shape[-1], 2.0)
        count[[0, -1]] = 1.0
        weights = bands.band_weights()
        energy = np.abs(noisy) ** 2 * count
        return cls(
            ((clean.conj() * noisy).real * count @ weights.T).astype(np.float32),
            (energy @ (weights**2).T).astype(np.float32),
            (energy @ (weights[1:] * weights[:-1]).T).astype(np.float32),
            (np.abs(clean) ** 2 * count).sum((-2, -1)),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], part: str) -> SoundTargets:
        """The other way of :meth:`arrays`."""
        return cls(*(arrays[f"{field.name}_{part}"] for field in fields(cls)))

    @classmethod
    def joined(cls, parts: Sequence[SoundTargets]) -> SoundTargets:
        """One after the other."""
        return cls(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            )
        )

    def arrays(self, part: str) -> dict[str, np.ndarray]:
        """By name, for an archive."""
        return {f"{field.name}_{part}": getattr(self, field.name) for field in fields(self)}

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, places: slice | np.ndarray) -> SoundTargets:
        return SoundTargets(*(getattr(self, field.name)[places] for field in fields(self)))

    def si_sdr(self, gains: np.ndarray) -> np.ndarray:
        """SI-SDR in dB float64 [sequences] of the sound behind `gains`
        [sequences, frames, BANDS]."""
        gains = np.asarray(gains, np.float64)
        along = (gains * self.along).sum((-2, -1))
        square = (gains**2 * self.power).sum((-2, -1))
        square += 2 * (gains[..., 1:] * gains[..., :-1] * self.between).sum((-2, -1))
        tiny = np.finfo(np.float64).tiny
        target = along**2 / np.maximum(self.clean, tiny)
        error = np.maximum(square - target, tiny)
        return 10 * np.log10(np.maximum(target, tiny) / error)

    def scores(self, gains: np.ndarray) -> np.ndarray:
        """SI-SDR gain over the noisy sound float64 [sequences], in units of :data:`FULL_DB`."""
        return (self.si_sdr(gains) - self.si_sdr(np.ones_like(gains))) / FULL_DB

"""Energies of bands in, gains of bands out: how a small denoiser sees and changes sound.

A frame is 32 ms of sound every 16 ms, so half of it is the one before. A network is given the
energies of 24 bands and answers with a gain for each; gains are interpolated between the middles of
bands, multiply the spectrum of the noisy frame, and the frames overlap and add. With all gains 1
the sound comes back as it was. The scheme is RNNoise's (arXiv 1709.08243), at 8 kHz and without its
pitch filter.
"""

from functools import cache

import numpy as np

#: Samples a second.
RATE = 8000
#: Samples of a frame (32 ms), and from one frame to the next (16 ms).
FRAME, HOP = 256, 128
#: Bands, even on the mel scale from 0 Hz to half the rate.
BANDS = 24
#: Least energy: far below the step of 16-bit sound, and the logarithm of silence stays finite.
FLOOR = 1e-7


@cache
def _window() -> np.ndarray:
    """Square root of a periodic Hann window: applied twice, overlapping halves add to 1."""
    return np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME))


@cache
def band_weights() -> np.ndarray:
    """Triangles float64 [BANDS, FRAME / 2 + 1] over the bins of the FFT; each bin's sum is 1."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    middles = 700 * (10 ** (np.linspace(0, top, BANDS) / 2595) - 1) * FRAME / RATE
    # Low bands are narrower than a bin: every middle is one bin at least above the one before.
    for band in range(1, BANDS):
        middles[band] = max(middles[band], middles[band - 1] + 1)
    bins = np.arange(FRAME // 2 + 1)
    return np.stack([np.interp(bins, middles, row) for row in np.eye(BANDS)])


def frames_of(samples: int) -> int:
    """Frames of so many samples: every sample is in two of them."""
    return -(-samples // HOP) + 1


def spectrum(sound: np.ndarray) -> np.ndarray:
    """Spectra complex128 [..., frames, FRAME / 2 + 1] of sounds [..., samples]."""
    sound = np.asarray(sound, np.float64)
    frames = frames_of(sound.shape[-1])
    after = (frames + 1) * HOP - HOP - sound.shape[-1]
    pad = [(0, 0)] * (sound.ndim - 1) + [(HOP, after)]
    padded = np.pad(sound, pad)
    cut = np.lib.stride_tricks.sliding_window_view(padded, FRAME, -1)[..., ::HOP, :]
    return np.fft.rfft(cut * _window(), axis=-1)


def sound_of(spectra: np.ndarray, samples: int) -> np.ndarray:
    """Sounds float64 [..., samples]: inverse of :func:`spectrum`."""
    pieces = np.fft.irfft(spectra, FRAME, axis=-1) * _window()
    first, second = pieces[..., :HOP], pieces[..., HOP:]
    joined = second[..., :-1, :] + first[..., 1:, :]
    return joined.reshape(*joined.shape[:-2], -1)[..., :samples]


def energies(spectra: np.ndarray) -> np.ndarray:
    """Energies float64 [..., frames, BANDS] of spectra."""
    return np.abs(spectra) ** 2 @ band_weights().T


def features(spectra: np.ndarray) -> np.ndarray:
    """What a network is given, float32 [..., frames, BANDS]: logarithms of base 10 of energies."""
    return np.log10(energies(spectra) + FLOOR).astype(np.float32)


def ideal_gains(clean: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """Gains float32 [..., frames, BANDS], 0 to 1, that give each band the energy of clean speech;
    spectra in."""
    ratio = (energies(clean) + FLOOR) / (energies(noisy) + FLOOR)
    return np.sqrt(np.minimum(ratio, 1)).astype(np.float32)


def apply_gains(noisy: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Spectra `noisy` with the gains [..., frames, BANDS] of their bands."""
    return noisy * (np.asarray(gains, np.float64) @ band_weights())

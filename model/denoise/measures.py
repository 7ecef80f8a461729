"""How good enhanced speech is: SI-SDR, STOI, PESQ."""

import numpy as np

from ..errors import InputError
from .bands import RATE


def si_sdr(clean: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """Scale-invariant signal-to-distortion ratio in dB [...] of sounds [..., samples]
    (arXiv 1811.02508, equation 3)."""
    clean, sound = np.asarray(clean, np.float64), np.asarray(sound, np.float64)
    tiny = np.finfo(np.float64).tiny
    scale = (clean * sound).sum(-1, keepdims=True) / np.maximum(
        (clean**2).sum(-1, keepdims=True), tiny
    )
    target = scale * clean
    error = sound - target
    return 10 * np.log10(
        np.maximum((target**2).sum(-1), tiny) / np.maximum((error**2).sum(-1), tiny)
    )


def stoi(clean: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """Short-time objective intelligibility [sequences], 0 to 1, by the package pystoi.

    Raises :class:`InputError` where that is not installed.
    """
    try:
        from pystoi import stoi as measure
    except ImportError:
        raise InputError("STOI needs pystoi: pip install 'genogate[audio]'") from None
    return np.array([measure(a, b, RATE) for a, b in zip(clean, sound, strict=True)])


def pesq(clean: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """Perceptual evaluation of speech quality, narrow band (ITU-T P.862), [sequences], 1 to 4.5,
    by the package pesq; NaN where that finds no speech.

    Raises :class:`InputError` where that is not installed.
    """
    try:
        from pesq import PesqError
        from pesq import pesq as measure
    except ImportError:
        raise InputError("PESQ needs pesq: pip install 'genogate[audio]'") from None
    return np.array(
        [
            value
            if (value := measure(RATE, a, b, "nb", on_error=PesqError.RETURN_VALUES)) > 0
            else np.nan
            for a, b in zip(clean, sound, strict=True)
        ]
    )

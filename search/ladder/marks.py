"""Scores of single validation sequences, and how sure they make a difference of two networks.

Two networks are judged by the same sequences, so what counts is on how many of them they differ.
The copies of a sequence that is shifted are one sequence here: they are right or wrong together.
"""

import base64
import math
import zlib

import numpy as np


def of_sequences(scores: np.ndarray, sequences: int) -> np.ndarray:
    """Mean score of every sequence over its copies, float64 [sequences].

    scores : float64 [copies * sequences], all sequences of a copy after each other
    """
    return scores.reshape(-1, sequences).mean(0)


def packed(marks: np.ndarray) -> str:
    """Marks as text, in float32."""
    return base64.b64encode(zlib.compress(marks.astype(np.float32).tobytes(), 9)).decode()


def unpacked(text: str) -> np.ndarray:
    """The other way."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.float32).astype(np.float64)


def error(marks: np.ndarray | None, others: np.ndarray | None) -> float:
    """Standard error, in points, of the difference of two networks on the same sequences; 0 where
    one of them was not judged by sequence."""
    if marks is None or others is None or len(marks) < 2:
        return 0.0
    return 100 * float(np.std(others - marks, ddof=1)) / math.sqrt(len(marks))

"""What the network that is chosen loses on other sequences: the luck of the choice, taken off.

Of many networks that the same sequences judge, the cheapest within a limit is likely to be one that
was lucky on them, the more so the more networks and the fewer sequences there are. How lucky is
told by making the choice again on samples of the sequences, drawn with replacement: what the
network that is chosen loses on all sequences, less what it loses in its sample, is the optimism of
such a choice (the bootstrap of Efron, JASA 78, 1983, of a choice in place of a fit). Nothing is
trained for it.
"""

from collections.abc import Sequence

import numpy as np

#: Samples that are drawn.
DRAWS = 500


def luck(
    losses: np.ndarray, costs: Sequence[float], drop: float, spare: float, seed: int = 0
) -> float | None:
    """Points that the choice is likely to have been lucky by, to be added to what the network that
    was chosen loses; None where half of the samples or more have no network within the limit.

    losses : float64 [networks, sequences], points that a network loses on a sequence against INT8
    costs : of the networks, of which the cheapest is chosen; of equal ones the more accurate
    drop : points that may be lost, `spare` standard errors of the loss among them
    """
    sequences = losses.shape[1]
    if sequences < 2:
        return None
    losses = losses[np.lexsort((losses.mean(1), costs))]
    squares, on_all = losses**2, losses.mean(1)
    rng = np.random.default_rng([seed, 31])
    optimism = []
    for _ in range(DRAWS):
        times = np.bincount(rng.integers(sequences, size=sequences), minlength=sequences)
        mean = losses @ times / sequences
        variance = (squares @ times - sequences * mean**2) / (sequences - 1)
        error = np.sqrt(np.maximum(variance, 0) / sequences)
        within = mean + spare * error <= drop + 1e-9
        if within.any():
            chosen = int(np.argmax(within))
            optimism.append(on_all[chosen] - mean[chosen])
    return float(np.mean(optimism)) if len(optimism) > DRAWS / 2 else None

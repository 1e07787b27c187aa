"""How far the mean of features moved from where training left it, in their own spread."""

import numpy as np

BLOCKS = 10  # of neighbouring images, whose means tell how much of a shift is chance
FEWEST = 2 * BLOCKS  # images
_LEAST = 1e-5  # of a variance, as in batch norm


def squared_shift(values: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Squared distance of two means in units of the mean variance, averaged over channels.

    Half as far as the values spread is 0.25. What a sample of this size moves by chance is taken
    off. Neighbouring images may show one identity, so blocks of neighbours tell that, not single
    images.

    Args:
        values: float [N, ..., C], at least `FEWEST` images, in an order in which neighbours may
            depend on each other, but not images far apart.
        mean: float [..., C], held by the network.
        variance: the same.

    Returns:
        float64 [...]. About 0, above or below, where nothing moved.
    """
    values = np.asarray(values, np.float64)
    if len(values) < FEWEST:
        raise ValueError(f"{len(values)} images; {FEWEST} are needed")
    means = [block.mean(axis=0) for block in np.array_split(values, BLOCKS)]
    chance = np.var(means, axis=0, ddof=1) / BLOCKS
    moved = (values.mean(axis=0) - mean) ** 2 - chance
    spread = (values.var(axis=0, ddof=1) + variance) / 2
    return np.mean(moved / (spread + _LEAST), axis=-1)

"""Small networks of known ground truth for the tests of proxies."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

WIDTHS = (2, 3, 4, 8)


def statistics(seed, items=6, widths=WIDTHS):
    """Statistics of a random network: items of different shapes and importance."""
    rng = np.random.default_rng([seed, 1])
    shapes = [tuple(int(n) for n in rng.integers(3, 14, 2)) for _ in range(items)]

    def draw():
        return tuple(rng.normal(size=shape) * np.exp(rng.normal()) for shape in shapes)

    tensors = {name: draw() for name in ("weight", "gradient", "virtual_gradient")}
    tensors["activation"] = tuple(np.abs(rng.normal(size=(rows, 5))) for rows, _ in shapes)
    tensors["hessian"] = tuple(each**2 for each in draw())
    errors = []
    for w in tensors["weight"]:
        steps = {width: np.abs(w).max() / 2 ** (width - 1) for width in widths}
        errors.append({width: np.round(w / step) * step - w for width, step in steps.items()})
    counts = np.array([rows * columns for rows, columns in shapes])
    return SimpleNamespace(
        names=tuple(f"item{k}" for k in range(items)),
        widths=tuple(widths),
        tensors=tensors,
        errors=tuple(errors),
        elements=counts,
        macs=2 * counts,
    )


@dataclass
class Table:
    """What a proxy is judged on."""

    name: str
    genomes: np.ndarray
    accuracy: np.ndarray
    sizes: np.ndarray
    trained: np.ndarray

    def subset(self, kind):
        if kind == "all":
            return np.arange(len(self.genomes))
        values = self.genomes.astype(int).sum(1) if kind == "equal-sum" else self.sizes
        found, counts = np.unique(values, return_counts=True)
        return np.flatnonzero(values == found[counts.argmax()])


def network(seed, count=120, noise=0.1, **options):
    """Statistics and a table, where accuracy falls with the Fisher-weighted error of all items."""
    stats = statistics(seed, **options)
    rng = np.random.default_rng([seed, 2])
    genomes = rng.choice(np.array(stats.widths, np.uint8), (count, len(stats.names)))
    # Every third shuffles another's genes, so that many have one sum of bits.
    first = genomes[0]
    for k in range(0, count, 3):
        genomes[k] = rng.permutation(first)
    gradient = stats.tensors["gradient"]
    harm = np.array(
        [
            [(gradient[k] ** 2 * stats.errors[k][width] ** 2).sum() for width in stats.widths]
            for k in range(len(stats.names))
        ]
    )
    place = {width: k for k, width in enumerate(stats.widths)}
    columns = np.vectorize(place.get)(genomes)
    total = np.log(harm[np.arange(len(harm)), columns].sum(1))
    accuracy = 1 / (1 + np.exp(total - np.median(total) + noise * rng.normal(size=count)))
    sizes = (genomes.astype(int) * stats.elements).sum(1)
    trained = np.where(np.arange(count) < 20, accuracy, np.nan)
    return Table(f"net{seed}", genomes, accuracy, sizes, trained), stats

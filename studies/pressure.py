"""Widths by gradient, as a start for a search: noise in place of rounding, and a price on bits.

What HGQ2 does for every weight (arXiv 2405.00645), here for the 17 operators of the GRU: in a float
network every operator's weights or values get uniform noise of a step of their width, which is a
real number that the gradient moves (arXiv 2104.09987), and the loss has a term of the area that a
bit of the operator takes. The rounded widths are a genome; it is trained as any other is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model import zoo
from genogate.model.checkpoints.descent import import_torch
from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.data.tasks import Task, load_task
from genogate.model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from genogate.model.knobs import Knobs
from genogate.model.qat.recipe import Tuning
from genogate.search.experiment.jobs import ForOne, Look, look_at, train_for_one
from genogate.search.ladder import page
from genogate.search.ladder.price import price_of

from .baselines import FOLDER as FLOATS
from .contestants import Race, networks_of
from .kept import Case, rows_of
from .search import table
from .spread import with_error

Say = Callable[[str], None]
FOLDER = Path("runs/pressure")
KNOBS = Knobs(activation="table", input_bits=4, classifier_bits=4)
#: Width at which every operator begins, and at which the area of a bit is looked up.
START = 6
#: Learning rates of weights and of widths, and sequences of a batch.
RATE, WIDTH_RATE, BATCH = 2e-3, 0.05, 32


@dataclass(frozen=True)
class Size:
    """What is trained.

    pressures : weights in the loss of the area, as a share of that of :data:`START` bits
    rivals : widths of homogeneous networks
    """

    units: int = 24
    noisy_epochs: int = 24
    epochs: int = 24
    seeds: tuple[int, ...] = (0, 1, 2)
    pressures: tuple[float, ...] = (0.3, 1.0, 3.0)
    rivals: tuple[int, ...] = (3, 4, 5, 6)


FULL = Size()
QUICK = Size(32, 1, 1, (0,), (1.0,), (4,))


def bit_prices(checkpoint: str) -> np.ndarray:
    """Area in um^2 of the last bit of every operator at :data:`START` bits, float64 [17]."""
    genes = [START] * len(GENES)
    whole = price_of((checkpoint, Genome.from_genes(genes), KNOBS))["um2"]
    fewer = [[*genes[:k], START - 1, *genes[k + 1 :]] for k in range(len(genes))]
    return np.array(
        [whole - price_of((checkpoint, Genome.from_genes(g), KNOBS))["um2"] for g in fewer]
    )


class Noisy:
    """A float GRU of one layer whose operators have the noise of their widths.

    ranges : of the values of every operator, float32 [17], from a pass without noise
    """

    def __init__(self, torch: Any, checkpoint: Checkpoint, seed: int) -> None:
        self.torch, self.draw = torch, torch.Generator().manual_seed(seed)
        self.weights = {
            name: torch.nn.Parameter(torch.from_numpy(value.copy()))
            for name, value in checkpoint.tensors.items()
        }
        self.bits = torch.nn.Parameter(torch.full((len(GENES),), float(START)))
        self.ranges: Any = None
        self.seen = [0.0] * len(GENES)

    def _noisy(self, k: int, value: Any, width: Any) -> Any:
        """A value of the range `width` with noise of a step of operator `k`."""
        step = width / (2.0 ** self.bits[k] - 1)
        return value + step * (self.torch.rand(value.shape, generator=self.draw) - 0.5)

    def _moved(self, k: int, value: Any) -> Any:
        """A value of operator `k` with the noise of its width; without ranges these are taken."""
        if self.ranges is None:
            self.seen[k] = max(self.seen[k], float(value.max() - value.min()))
            return value
        return self._noisy(k, value, self.ranges[k])

    def calibrate(self, x: Any) -> None:
        """Take the ranges of all operators."""
        with self.torch.no_grad():
            self.logits(x)
        self.ranges = self.torch.tensor(self.seen)

    def _dense(self, places: Sequence[int], name: str) -> tuple[Any, Any]:
        """Weights of the three gates with the noise of their operators; their steps are those of
        the weights' own range."""
        gates = self.weights[f"weight_{name}_l0"].chunk(3)
        if self.ranges is not None:
            gates = [
                self._noisy(k, gate, 2 * gate.detach().abs().max())
                for k, gate in zip(places, gates, strict=True)
            ]
        return self.torch.cat(gates), self.weights[f"bias_{name}_l0"]

    def logits(self, x: Any) -> Any:
        """Logits [batch, classes] of sequences [batch, steps, features]."""
        torch, m = self.torch, self._moved
        w_x, b_x = self._dense((0, 1, 2), "ih")
        w_h, b_h = self._dense((3, 4, 5), "hh")
        h = torch.zeros(len(x), w_h.shape[1])
        for step in range(x.shape[1]):
            i_r, i_z, i_n = (x[:, step] @ w_x.T + b_x).chunk(3, 1)
            h_r, h_z, h_n = (h @ w_h.T + b_h).chunk(3, 1)
            r = m(14, torch.sigmoid(m(6, m(0, i_r) + m(3, h_r))))
            z = m(15, torch.sigmoid(m(7, m(1, i_z) + m(4, h_z))))
            n = m(16, torch.tanh(m(8, m(2, i_n) + m(11, r * m(5, h_n)))))
            h = m(10, m(12, m(9, 1 - z) * n) + m(13, z * h))
        return h @ self.weights["classifier.weight"].T + self.weights["classifier.bias"]


def widths(task: Task, checkpoint: str, pressure: float, epochs: int, seed: int) -> list[int]:
    """Genes that training with noise and a price on bits ends with."""
    torch = import_torch()
    torch.manual_seed(seed)
    noisy = Noisy(torch, zoo.load(checkpoint), seed)
    noisy.calibrate(torch.from_numpy(task.x_calibration))
    prices = bit_prices(checkpoint)
    share = torch.from_numpy((prices / prices.sum()).astype(np.float32))
    batches = -(-len(task.x_train) // BATCH)
    groups = [
        {"params": list(noisy.weights.values()), "lr": RATE},
        {"params": [noisy.bits], "lr": WIDTH_RATE},
    ]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    draw = np.random.default_rng([seed, 5])
    for _ in range(epochs):
        for index in np.array_split(draw.permutation(len(task.x_train)), batches):
            logits = noisy.logits(torch.from_numpy(task.x_train[index]))
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(task.y_train[index]))
            area = (share * noisy.bits).sum() / START
            optimizer.zero_grad()
            (loss + pressure * area).backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                noisy.bits.clamp_(MIN_BITS, MAX_BITS)
    return [round(float(b)) for b in noisy.bits.detach()]


def _row(case: tuple[str, Any], size: Size, seed: int, folder: Path) -> dict[str, Any]:
    kind, value = case
    (checkpoint,) = networks_of(Race("digits-row", (size.units,), size.epochs), seed, FLOATS)
    if kind == "by gradient":
        task = load_task("digits-row", seed)
        genes = widths(task, checkpoint, value, size.noisy_epochs, seed)
    else:
        genes = [value] * len(GENES)
    genome = Genome.from_genes(genes)
    path = folder / f"{kind.replace(' ', '-')}-{value}-{seed}.safetensors"
    recipe = Tuning(epochs=size.epochs, seed=seed, keep="last")
    job = ForOne((("float", checkpoint),), checkpoint, genome, KNOBS, recipe, None, str(path))
    trained = train_for_one(job)
    return {
        "kind": kind,
        "value": value,
        "seed": seed,
        "genes": genes,
        "um2": price_of((checkpoint, genome, KNOBS))["um2"],
        "judged": trained["judged"],
        "test": look_at(Look(str(path), None, KNOBS, ("test",)))["test"],
    }


def measure(
    say: Say, size: Size = FULL, folder: Path = FOLDER, budget: str | None = None
) -> dict[str, Any]:
    """Networks of widths by gradient and homogeneous ones, on every seed; after `budget` no other
    begins, and the next call goes on."""
    every = [("homogeneous", bits) for bits in size.rivals]
    every += [("by gradient", pressure) for pressure in size.pressures]
    cases = (
        Case(
            folder / f"{kind.replace(' ', '-')}-{value}-{seed}.json",
            f"digits-row, seed {seed}: {kind}, {value:g}",
            partial(_row, (kind, value), size, seed, folder),
            kind,
        )
        for kind, value in every
        for seed in size.seeds
    )
    rows, missing = rows_of(cases, say, budget)
    return {"size": asdict(size), "rows": rows, "missing": missing}


def beside(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any], part: str) -> float | None:
    """Accuracy that homogeneous networks of the row's seed have at its area, between the two next
    to it; None beyond them."""
    of = sorted(
        (r["um2"], r[part]) for r in rows if r["kind"] == "homogeneous" and r["seed"] == row["seed"]
    )
    if not of or not of[0][0] <= row["um2"] <= of[-1][0]:
        return None
    return float(np.interp(row["um2"], *zip(*of, strict=True)))


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    rows, size = data["rows"], data["size"]
    lines = [
        "## Widths by gradient, as a start for a search",
        "",
        f"digits-row with {size['units']} units, input and classifier of 4 bits. In a float "
        "network every operator has noise of a step of its width in place of rounding; widths are "
        "real numbers that the gradient moves, and the loss has the area of their bits in sky130, "
        f"times a pressure. After {size['noisy_epochs']} epochs the widths are rounded and the "
        f"genome is trained as the homogeneous ones are, for {size['epochs']} epochs from the "
        "float weights; the last epoch is kept. Points gained: over homogeneous networks at the "
        "same area, between the two next to it, ± one standard error over the seeds. They gained "
        "nothing that the seeds tell, and lost under much pressure, so the search starts from "
        "homogeneous networks.",
        "",
    ]
    if data["missing"]:
        lines += [f"Not measured: {data['missing']} networks.", ""]
    body = []
    for kind, value in dict.fromkeys((r["kind"], r["value"]) for r in rows):
        of = [r for r in rows if (r["kind"], r["value"]) == (kind, value)]
        gains: dict[str, str] = {}
        for part in ("judged", "test"):
            pairs = [(r[part], beside(rows, r, part)) for r in of]
            known = [100 * (own - other) for own, other in pairs if other is not None]
            gains[part] = with_error(known) if kind != "homogeneous" and known else ""
        genes = dict.fromkeys(f"`{page.widths(r)}`" for r in of)
        body.append(
            (
                f"INT{value}" if kind == "homogeneous" else f"{kind}, pressure {value:g}",
                ", ".join(genes),
                f"{np.mean([r['um2'] for r in of]):,.0f}",
                f"{100 * np.mean([r['judged'] for r in of]):.2f}",
                gains["judged"],
                f"{100 * np.mean([r['test'] for r in of]):.2f}",
                gains["test"],
            )
        )
    head = ("network", "genes", "um^2", "validation, %", "gained", "test, %", "gained")
    return [*lines, *table(head, body)]

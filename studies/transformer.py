"""A small vision transformer whose every non-linear function is a table: accuracy, measured.

Patches of an image are the tokens; each block is ``x + attention(norm(x))``, then
``x + mlp(norm(x))``. It is trained in float, then its modules are replaced by those of
:mod:`genogate.model.torch_units.nonlinear`, calibrated on training images, and judged on the test
part before and after a fine-tuning of a fifth of the epochs. Everything between the tables stays
float, so that what is lost is lost in the non-linear functions: their 8-bit codes and their few
segments.
"""

import copy
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
from genogate.model.checkpoints.augmentation import shifted
from genogate.model.checkpoints.descent import import_torch
from genogate.model.data import mnist
from genogate.model.data.tasks import load_task
from genogate.model.integer import PiecewiseLinear
from genogate.model.tables.composites import Normalise, Softmax
from genogate.model.tables.formats import Format
from genogate.model.tables.functions import FUNCTIONS
from genogate.model.tables.points import SCALES, Points
from genogate.model.tables.table import LutTable
from genogate.search.tables.gqa import search
from genogate.search.tables.methods import table_of
from genogate.search.tables.rules import Problem
from genogate.sim import golden, golden_composites

torch = import_torch()
from genogate.model.torch_units import nonlinear  # noqa: E402
from genogate.model.torch_units.nonlinear import (  # noqa: E402
    exact_table,
)
from torch import Tensor, nn  # noqa: E402

Say = Callable[[str], None]
ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "silu": nn.SiLU, "hswish": nn.Hardswish}
#: Training images that scales are calibrated on, and one of how many MNIST images is used.
CALIBRATION, SHARE = 512, 6
#: Names of the two cases that every network has.
EXACT, EIGHT = "exact functions", "8 entries"
#: Widths at which the tables of GELU are compared.
TIE_BITS = (8, 5)


@dataclass(frozen=True)
class Images:
    """A data set: images float32 [n, rows, columns] of 0 to 1 and their classes, train and test.

    patch : side of a square patch, a token
    shift : training shifts images by up to so many pixels
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    patch: int
    shift: int


def digits() -> Images:
    """The parts of digits-row; its validation part is left out."""
    task = load_task("digits-row", 0)
    return Images("digits", task.x_train, task.y_train, task.x_test, task.y_test, 2, 1)


@dataclass(frozen=True)
class Recipe:
    """The network and its training: AdamW, one cosine, gradient norm clipped to 1."""

    activation: str = "gelu"
    width: int = 48
    heads: int = 4
    blocks: int = 3
    epochs: int = 40
    batch: int = 32
    lr: float = 5e-3
    weight_decay: float = 1e-2
    tuning_share: float = 0.2
    tuning_lr: float = 5e-4


class Attention(nn.Module):
    """Self-attention whose softmax is a module."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.softmax = nn.Softmax(-1)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        split = self.query_key_value(x).view(batch, tokens, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        score = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5
        return self.out((self.softmax(score) @ value).transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    """Attention and a two-layer perceptron, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, activation: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(self.activation(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Images [batch, rows, columns] to logits [batch, 10]."""

    def __init__(self, recipe: Recipe, images: Images) -> None:
        super().__init__()
        self.patch = images.patch
        tokens = images.x_train[0].size // self.patch**2
        self.embed = nn.Linear(self.patch**2, recipe.width)
        self.position = nn.Parameter(0.5 * torch.randn(tokens, recipe.width))
        self.blocks = nn.Sequential(
            *(Block(recipe.width, recipe.heads, recipe.activation) for _ in range(recipe.blocks))
        )
        self.norm, self.head = nn.LayerNorm(recipe.width), nn.Linear(recipe.width, 10)

    def forward(self, x: Tensor) -> Tensor:
        # About zero and of about unit size.
        x = 4 * x - 1.2
        patches = x.unfold(1, self.patch, self.patch).unfold(2, self.patch, self.patch)
        x = self.embed(patches.reshape(len(x), -1, self.patch**2)) + self.position
        return self.head(self.norm(self.blocks(x)).mean(1))


def train(
    model: nn.Module, images: Images, recipe: Recipe, epochs: int, lr: float, seed: int
) -> None:
    """Train in place."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=recipe.weight_decay)
    batches = -(-len(images.x_train) // recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    model.train()
    for _ in range(epochs):
        for index in np.array_split(draw.permutation(len(images.x_train)), batches):
            x = torch.from_numpy(shifted(images.x_train[index], (images.shift,) * 2, draw))
            loss = nn.functional.cross_entropy(model(x), torch.from_numpy(images.y_train[index]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def logits_of(model: nn.Module, images: Images) -> np.ndarray:
    """Logits [test images, 10]."""
    model.eval()
    with torch.no_grad():
        parts = [model(part) for part in torch.from_numpy(images.x_test).split(500)]
    return torch.cat(parts).numpy()


def digits_of_mnist() -> Images | None:
    """Every sixth MNIST image, or None where they are not there."""
    if not mnist.mnist_is_here():
        return None
    parts = [
        ((images[::SHARE] / 255).astype(np.float32), labels[::SHARE].astype(np.int64))
        for images, labels in mnist.mnist().values()
    ]
    return Images("MNIST", *parts[0], *parts[1], 7, 2)


def left_tied(table: LutTable) -> LutTable:
    """The table as the released GQA-LUT operator reads it: a code on a break point goes left."""
    past = 1 << (table.in_bits - 1)
    rows = tuple(
        dataclasses.replace(row, breakpoints=np.minimum(row.breakpoints + 1, past))
        for row in table.rows
    )
    return dataclasses.replace(table, rows=rows)


def chord_table(entries: int, in_bits: int = 8, seed: int = 0) -> LutTable:
    """GELU by the published method: genetic search, rounded chords, one table for the scales."""
    points = Points.of(FUNCTIONS["gelu"], SCALES, in_bits)
    form = Format.of(points.function)
    problem = Problem(points, form)
    cut = search(problem, entries, seed=seed, rule="chord")
    return table_of(problem, cut, {"method": "gqa", "rule": "chord", "seed": seed})


def replaced(model: nn.Module, images: Images, **how: Any) -> nn.Module:
    """A copy of `model` with its non-linear modules replaced, calibrated on training images."""
    other = copy.deepcopy(model)
    nonlinear.replace(other, **how)
    nonlinear.calibrate(other, torch.from_numpy(images.x_train[:CALIBRATION]).split(64))
    return other


def recomputed(model: nn.Module, x: Tensor) -> dict[str, int]:
    """Hold every replaced module to the golden model on what it is given for images `x`.

    Returns how many values were compared, and how many differed from golden's.
    """
    count = {"values": 0, "different": 0}

    def check(module: nonlinear.Calibrated, inputs: tuple[Tensor], output: Tensor) -> None:
        q = nonlinear.to_codes(inputs[0], module.scale, module.in_bits).numpy()
        laws: dict[type, Callable[[Any, np.ndarray], np.ndarray]] = {
            PiecewiseLinear: golden.activation,
            Softmax: golden_composites.softmax,
            Normalise: golden_composites.normalise,
        }
        wanted = np.ldexp(
            laws[type(module.unit)](module.unit, q) - module.zero_point, -module.out_scale
        )
        count["values"] += wanted.size
        count["different"] += int((output.numpy() != wanted).sum())

    hooks = [
        module.register_forward_hook(check)
        for module in model.modules()
        if isinstance(module, nonlinear.Calibrated)
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return count


def measure_seed(
    images: Images, recipe: Recipe, seed: int, cases: Mapping[str, tuple[bool, dict[str, Any]]]
) -> dict[str, Any]:
    """Accuracies of one network: exact functions, and every case before and after fine-tuning;
    and how far the logits are off before it, in standard deviations of the exact ones.

    cases : name to whether it is fine-tuned, and the arguments of ``replacement.replace``
    """
    started = time.process_time()
    torch.manual_seed(seed)
    model = Transformer(recipe, images)
    train(model, images, recipe, recipe.epochs, recipe.lr, seed)
    short = round(recipe.epochs * recipe.tuning_share)
    exact = logits_of(model, images)

    def judged(other: nn.Module, name: str, when: str) -> None:
        logits = logits_of(other, images)
        accuracy = float((logits.argmax(1) == images.y_test).mean())
        found.setdefault(name, {})[when] = accuracy
        if when == "before":
            off = float(np.sqrt(((logits - exact) ** 2).mean()) / exact.std())
            found[name]["logits_off"] = round(off, 6)

    found: dict[str, dict[str, Any]] = {}
    for name, (tuned, how) in {EXACT: (True, None), **cases}.items():
        other = copy.deepcopy(model) if how is None else replaced(model, images, **how)
        judged(other, name, "before")
        if tuned:
            train(other, images, recipe, short, recipe.tuning_lr, seed + 1000)
            judged(other, name, "after")
        if name == EIGHT:
            found[name]["golden"] = recomputed(other, torch.from_numpy(images.x_test[:100]))
    return {"seed": seed, "cpu_s": round(time.process_time() - started, 1), "cases": found}


def gelu_tables(bits: int) -> dict[str, LutTable]:
    """GELU with 8 segments by the exact method and by the published one, and both as the released
    operator reads them."""
    tables = {"exact": exact_table(FUNCTIONS["gelu"], in_bits=bits), "chord": chord_table(8, bits)}
    return tables | {f"{name}, left ties": left_tied(table) for name, table in tables.items()}


def gelu_alone(bits: int) -> dict[str, tuple[bool, dict[str, Any]]]:
    """Cases in which only GELU is replaced."""
    tables = gelu_tables(bits)
    return {
        f"GELU alone, {bits} bits, {name}": (False, {"tables": {"gelu": table}, "only": ["gelu"]})
        for name, table in tables.items()
    }


def cases_of_digits() -> dict[str, tuple[bool, dict[str, Any]]]:
    """What is compared on digits."""
    own = {"gelu": exact_table(FUNCTIONS["gelu"], 8, shared=False)}
    found: dict[str, tuple[bool, dict[str, Any]]] = {
        EIGHT: (True, {}),
        "16 entries": (True, {"entries": 16}),
        "64 entries": (False, {"entries": 64}),
        "4 entries": (False, {"entries": 4}),
        "8 entries, GELU's table of its own scale": (False, {"tables": own}),
        "8 entries, 6-bit codes": (False, {"in_bits": 6, "out_bits": 6}),
        "8 entries, 4-bit codes": (True, {"in_bits": 4, "out_bits": 4}),
        "softmax alone, 8 entries": (False, {"only": ["softmax"]}),
        "layer norm alone, 8 entries": (False, {"only": ["layernorm"]}),
    }
    for bits in TIE_BITS:
        found |= gelu_alone(bits)
    return found


def measure(say: Say) -> dict[str, Any]:
    """Train, replace, fine-tune and judge: see :func:`render`. Some ten minutes of one core."""
    runs, left_out = [], []
    everything = cases_of_digits()
    short = {EIGHT: everything[EIGHT]}
    plan: list[tuple[Images | None, Recipe, Sequence[int], Any]] = [
        (digits(), Recipe(), range(5), everything),
        *((digits(), Recipe(activation=name), range(2), short) for name in ("silu", "hswish")),
        (digits_of_mnist(), Recipe(epochs=5), range(2), short),
    ]
    for images, recipe, seeds, cases in plan:
        if images is None:
            left_out.append("MNIST was left out: $GENOGATE_DATA does not hold it.")
            say(left_out[-1])
            continue
        for seed in seeds:
            found = measure_seed(images, recipe, seed, cases)
            sizes = {"train": len(images.x_train), "test": len(images.x_test)}
            runs.append(
                {"images": images.name, **sizes, "recipe": dataclasses.asdict(recipe), **found}
            )
            exact, eight = (found["cases"][name] for name in (EXACT, EIGHT))
            say(
                f"{images.name} {recipe.activation} seed {seed}: exact {exact['before']:.4f}, "
                f"8 entries {eight['before']:.4f}, fine-tuned {eight['after']:.4f} "
                f"({found['cpu_s']:.0f} s)"
            )
    mse = {
        str(bits): {name: table.mse() for name, table in gelu_tables(bits).items()}
        for bits in TIE_BITS
    }
    versions = {"torch": str(torch.__version__), "numpy": np.__version__}
    return {"runs": runs, "left_out": left_out, "gelu_mse": mse, "versions": versions}


def _score(runs: Sequence[dict[str, Any]], name: str, when: str) -> str:
    """Mean accuracy in percent and its spread, and the mean loss against the exact functions at
    the same time; "-" where it was not measured."""
    got = [run["cases"][name].get(when) for run in runs]
    if None in got:
        return "-"
    exact = [run["cases"][EXACT][when] for run in runs]
    score = f"{100 * mean(got):.2f}" + (f" ± {100 * stdev(got):.2f}" if len(got) > 1 else "")
    if name == EXACT:
        return score
    return f"{score} ({100 * (mean(got) - mean(exact)):+.2f})"


def render(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in data["runs"]:
        groups.setdefault((run["images"], run["recipe"]["activation"]), []).append(run)
    first = data["runs"][0]
    recipe = first["recipe"]
    values = sum(run["cases"][EIGHT]["golden"]["values"] for run in data["runs"])
    different = sum(run["cases"][EIGHT]["golden"]["different"] for run in data["runs"])
    mse = data["gelu_mse"]
    changes, images = [], []
    for (name, activation), runs in groups.items():
        before = [mean(run["cases"][case]["before"] for run in runs) for case in (EIGHT, EXACT)]
        changes.append(f"{100 * (before[0] - before[1]):+.2f} ({name}, {activation})")
        images.append(f"{100 / runs[0]['test']:.2f} ({name})")
    images = list(dict.fromkeys(images))
    lines = [
        "## A transformer of tables",
        "",
        "Asked: does a transformer keep its accuracy when all its non-linear functions are 8-bit "
        "units with tables?",
        "",
        "Result: yes, in these small networks. With 8 entries a table, accuracy changes by "
        f"{', '.join(changes)} points before any fine-tuning, one test image being "
        f"{', '.join(images)} points.",
        "",
        f"A vision transformer ({recipe['blocks']} blocks, width {recipe['width']}, "
        f"{recipe['heads']} heads, 16 patches) is trained in float. Then every GELU, softmax "
        "(exponential and reciprocal) and layer norm (reciprocal square root) becomes an 8-bit "
        "unit; everything between them stays float. Scales are calibrated on 512 training images. "
        "Fine-tuning takes a fifth of the epochs, also for the float network. The tables are found "
        "by the exact method, one for all scales 2^0 to 2^-6, and their error is bounded outside "
        "of the function's range as well.",
        "",
        "Test accuracy in percent, mean ± standard deviation over the seeds; in brackets the "
        "difference to the exact functions at the same point. `logits off`: root mean square "
        "distance from the logits with exact functions, before fine-tuning, in percent of their "
        f"standard deviation. torch {data['versions']['torch']}.",
        "",
    ]
    for (pictures, activation), runs in groups.items():
        run = runs[0]
        lines += [
            f"{pictures}, {activation}: {run['train']:,} training and {run['test']:,} test images, "
            f"{len(runs)} seeds, {run['recipe']['epochs']} epochs (one test image is "
            f"{100 / run['test']:.2f}).",
            "",
            "| non-linear functions | before fine-tuning | after | logits off, % |",
            "|---|---|---|---|",
            *(
                f"| {name} | {_score(runs, name, 'before')} | {_score(runs, name, 'after')} | "
                f"{100 * mean(run['cases'][name]['logits_off'] for run in runs):.2f} |"
                for name in run["cases"]
            ),
            "",
        ]
    lines += [
        *(line for reason in data["left_out"] for line in (reason, "")),
        f"The golden model computed {values:,} outputs of these units again, for test images, in "
        f"the fine-tuned networks of 8 entries: {different} differ.",
        "",
        "The rows `GELU alone` compare four tables of 8 entries. `exact` is the table by the exact "
        "method, `chord` that of the published search with rounded chords (seed 0). `left ties`: a "
        "code on a break point takes the segment on its left, as in the released operator. Their "
        "mean squared error over the codes in range (protocol R):",
        "",
        "| table | " + " | ".join(f"{bits}-bit codes" for bits in mse) + " |",
        "|---|" + "---|" * len(mse),
        *(
            f"| {name} | " + " | ".join(f"{mse[bits][name]:.2e}" for bits in mse) + " |"
            for name in next(iter(mse.values()))
        ),
        "",
        "Neither rounded chords nor the other rule for ties show in the accuracy of these "
        "networks. Calibration gives GELU a fine scale, so few inputs fall on a break point.",
        "",
    ]
    return lines

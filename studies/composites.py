"""Exactness and errors of softmax, normalisation and reciprocals made of tables."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from genogate.model.aliases import Array
from genogate.model.tables import composites, reduction
from genogate.model.tables.functions import FUNCTIONS, Function
from genogate.model.tables.points import codes
from genogate.sim import golden_composites as golden
from genogate.sim.rtl.composites import SEED, Segment, campaign, simulate
from genogate.sim.rtl.network.regression import require_simulator

#: What the anchors say under protocol R (mean over 2**0 to 2**-6 of the mean squared error, outputs
#: not rounded): LUT-APP's shipped tables, which use range reduction, and its format's optimum.
PUBLISHED: dict[tuple[reduction.Name, int], tuple[float, float]] = {
    ("reciprocal", 8): (1.47e-6, 6.27e-7),
    ("reciprocal", 16): (2.35e-6, 4.43e-7),
    ("rsqrt", 8): (5.66e-6, 4.19e-6),
    ("rsqrt", 16): (5.20e-6, 3.56e-6),
}
#: Number formats of the tables over the mantissa: fraction bits of slope and intercept.
FORMATS = {
    "8-bit slope, 8-bit intercept": reduction.Widths(7, 7),
    "8-bit slope, 13-bit intercept": reduction.Widths(8, 12),
}
#: Mantissa bits that hold every 8-bit code exactly.
EXACT = 6
SCALES = range(7)


def _protocol_r(name: reduction.Name) -> list[tuple[int, Array, Array, Array]]:
    """For each scale: the shift of x and powers of two, mantissa codes and places, of its codes."""
    found = []
    for scale in SCALES:
        q = codes(FUNCTIONS[name], 8, scale)
        doubled = scale % 2 if name == "rsqrt" else 0
        power = scale if name == "reciprocal" else (scale + doubled) // 2
        op = reduction.reduction(name, 7 + doubled, 4, EXACT)
        _, exponent = golden.reduce(op, q << doubled)
        m = (q << doubled) << (EXACT - exponent * op.step)
        found.append((scale, q, m, power - exponent))
    return found


def protocol_r_weight(name: reduction.Name) -> Array:
    """What each mantissa code counts in the mean squared error of protocol R."""
    low, high = 1 << EXACT, 1 << (EXACT + (1 if name == "reciprocal" else 2))
    weight = np.zeros(high - low + 1)
    for _, q, m, power in _protocol_r(name):
        np.add.at(weight, m - low, 4.0**power / len(q) / len(SCALES))
    return weight


def protocol_r(name: reduction.Name, pieces: reduction.Pieces) -> float:
    """Mean over the scales of the mean squared error on INT8 codes, outputs not rounded."""
    errors = []
    for scale, q, m, power in _protocol_r(name):
        got = np.ldexp(golden.pieces(pieces, m).astype(np.float64), power - pieces.fraction_bits)
        errors.append(((got - FUNCTIONS[name](np.ldexp(q.astype(float), -scale))) ** 2).mean())
    return float(np.mean(errors))


def reduction_errors() -> dict[str, Any]:
    """Protocol R beside the published figures, and relative errors over all inputs."""
    rows, relative = [], []
    rng = np.random.default_rng(SEED)
    for name, entries in PUBLISHED:
        row: dict[str, Any] = {
            "function": name,
            "entries": entries,
            "published": list(PUBLISHED[name, entries]),
        }
        for label, widths in FORMATS.items():
            weight = tuple(protocol_r_weight(name).tolist())
            row[label] = protocol_r(
                name, reduction.mantissa_pieces(name, entries, EXACT, widths, weight)
            )
        row["relative error"] = protocol_r(name, reduction.mantissa_pieces(name, entries, EXACT))
        rows.append(row)
        for bits, fraction, x in (
            (8, EXACT, np.arange(1, 128)),
            (16, 9, np.arange(1, 1 << 16)),
            (32, 9, np.maximum(rng.integers(0, 1 << 32, 10**6) >> rng.integers(0, 32, 10**6), 1)),
        ):
            op = reduction.reduction(name, bits, entries, fraction)
            mantissa, exponent = golden.reduce(op, x)
            got = np.ldexp(mantissa.astype(np.float64), -(op.pieces.fraction_bits + exponent))
            off = np.abs(got / FUNCTIONS[name](x.astype(np.float64)) - 1)
            relative.append(
                {
                    "function": name,
                    "entries": entries,
                    "bits": bits,
                    "fraction": fraction,
                    "max": float(off.max()),
                    "rms": float(np.sqrt((off**2).mean())),
                    "inputs": len(x),
                }
            )
    return {"protocol_r": rows, "relative": relative}


def _softmax_vectors(rng: np.random.Generator, n: int, scale: int) -> Array:
    """Codes [vectors, n]: uniform, normal of four widths, one above others that are equal, and one
    above three groups of equal ones, whose errors all add up."""
    count = int(np.clip(200_000 // n, 200, 4000))
    width = 2.0**scale * rng.choice([0.5, 1, 2, 4], (count, 1))
    normal = np.clip(np.round(rng.normal(size=(count, n)) * width), -128, 127).astype(np.int64)
    equal = np.repeat(127 - np.arange(256)[:, None], n, 1)
    equal[:, 0] = 127
    levels = rng.integers(0, min(255, 6 << scale) + 1, (2 * count, 3))
    levels[:count, 2] = 255
    choice = 127 - np.concatenate([np.zeros((2 * count, 1), np.int64), levels], 1)
    ends = np.sort(np.floor(2 ** rng.uniform(0, np.log2(n + 1), (2 * count, 2))), 1)
    begins = np.concatenate([np.ones((2 * count, 1)), ends], 1)
    group = (np.arange(n) >= begins[:, :, None]).sum(1)
    groups = np.take_along_axis(choice, group, 1)
    return np.concatenate([rng.integers(-128, 128, (count, n)), normal, equal, groups])


def _direct_softmax(scale: int, entries: int, q: Array) -> Array:
    """Probabilities with one table of exp over (-8, 0) and all else exact, for comparison."""
    function = Function("exp(-x)", lambda x: np.exp(-x), 0, 256)
    # Beyond the range any line will do that stays near to zero.
    x = np.ldexp(np.arange(256.0), -scale)
    table = reduction.fit_pieces(
        function, 0, 255, scale, entries, reduction.Widths(8, 12), np.where(x <= 8, 1.0, 2.0**-10)
    )
    exp = np.maximum(golden.pieces(table, q.max(-1, keepdims=True) - q), 0).astype(np.float64)
    return exp / exp.sum(-1, keepdims=True)


def _errors(got: Array, wanted: Array) -> dict[str, float]:
    off = np.abs(got - wanted)
    return {"max": float(off.max()), "mean": float(off.mean())}


def softmax_errors() -> list[dict[str, Any]]:
    """Errors in output codes (2**-8) by scale and length."""
    rows = []
    for scale in (0, 2, 4, 6):
        for n in (2, 4, 16, 64, 256, 1024):
            q = _softmax_vectors(np.random.default_rng([SEED, scale, n]), n, scale)
            exp = np.exp(np.ldexp((q - q.max(-1, keepdims=True)).astype(np.float64), -scale))
            wanted = np.minimum(256 * exp / exp.sum(-1, keepdims=True) - 128, 127)
            row: dict[str, Any] = {
                "scale": scale,
                "n": n,
                "vectors": len(q),
                "float": _errors(np.floor(wanted + 0.5), wanted),
            }
            for entries in (8, 16):
                op = composites.softmax_params(scale, entries, max(64, n))
                row[f"unit {entries}"] = _errors(golden.softmax(op, q), wanted)
                direct = np.floor(256 * _direct_softmax(scale, entries, q) + 0.5) - 128
                row[f"direct {entries}"] = _errors(np.minimum(direct, 127), wanted)
            rows.append(row)
    return rows


def normalise_errors() -> list[dict[str, Any]]:
    """Errors in output codes (2**-5) by length; gamma and beta are the stored ones."""
    rows = []
    for n in (2, 16, 64, 256, 768, 1024):
        rng = np.random.default_rng([SEED, n])
        count = int(np.clip(200_000 // n, 200, 4000))
        width = rng.choice([0.2, 0.5, 1, 4, 30, 100], (count, 1))
        q = rng.normal(size=(count, n)) * width + rng.uniform(-60, 60, (count, 1))
        q = np.clip(np.round(q), -128, 127).astype(np.int64)
        affine = {"gamma": rng.normal(1, 0.3, n), "beta": rng.normal(0, 0.5, n)}
        kinds: dict[str, dict[str, Any]] = {
            "layer norm": {},
            "layer norm, gamma, beta": affine,
            "root mean square": {"rms": True},
        }
        for kind, knobs in kinds.items():
            row: dict[str, Any] = {"kind": kind, "n": n, "vectors": count}
            for entries in (8, 16):
                op = composites.layernorm_params(n, 4, entries, **knobs)
                x = np.ldexp(q.astype(np.float64), -4)
                x = x - x.mean(-1, keepdims=True) if op.centre else x
                y = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
                if op.gamma is not None and op.beta is not None:
                    fraction = op.shift + 5 - op.norm_fraction
                    y = y * np.ldexp(op.gamma.astype(np.float64), -fraction) + affine["beta"]
                wanted = np.clip(32 * y, -128, 127)
                row["float"] = _errors(np.floor(wanted + 0.5), wanted)
                row[f"unit {entries}"] = _errors(golden.normalise(op, q), wanted)
            rows.append(row)
    return rows


def exhaustive() -> dict[str, Any]:
    """Range reduction of every 16-bit integer and a million of 32 bits, through Icarus."""
    rng, found = np.random.default_rng(SEED), {}
    names: tuple[reduction.Name, ...] = ("reciprocal", "rsqrt")
    for name in names:
        wide = rng.integers(0, 1 << 32, 100_000) >> rng.integers(0, 32, 100_000)
        for bits, x in ((16, np.arange(1 << 16)), (32, wide)):
            op = reduction.reduction(name, bits, 8, 9, composites.RESULT)
            outcome = simulate(op, [Segment([x])])
            found[f"{name} {bits}"] = {"inputs": outcome.elements, "mismatches": outcome.mismatches}
    return found


def measure(say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Everything that ``docs/results.md`` says of composites, JSON-able."""
    say("range reduction: errors")
    data: dict[str, Any] = {
        "seed": SEED,
        "versions": require_simulator()
        | {"numpy": np.__version__, "amaranth": version("amaranth")},
        "reduction": reduction_errors(),
    }
    say("softmax: errors")
    data["softmax"] = softmax_errors()
    say("normalisation: errors")
    data["normalise"] = normalise_errors()
    say("range reduction: Verilog")
    data["exhaustive"] = exhaustive()
    data["campaign"] = campaign(say=say)
    return data


def render(data: dict[str, Any]) -> list[str]:
    """Markdown of what :func:`measure` returned."""
    first, second = FORMATS
    out = [
        "## Range reduction, softmax and layer normalisation",
        "",
        "Reciprocal and reciprocal square root of INT8 codes by range reduction, protocol R (mean",
        "over scales 2^0 to 2^-6 of the mean squared error, outputs not rounded). Break points and",
        "lines are the exact optimum of their format over 64 (rsqrt: 192) mantissas: for this",
        "measure, or, last column, for relative error, as the units have them. LUT-APP reduces the",
        "range too.",
        "",
        "| function | entries | LUT-APP shipped | its format's optimum | 8-bit slope, intercept "
        "| 8-bit slope, 13-bit intercept | for relative error |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in data["reduction"]["protocol_r"]:
        shipped, best = row["published"]
        out.append(
            f"| {row['function']} | {row['entries']} | {shipped:.2e} | {best:.2e} "
            f"| {row[first]:.2e} | {row[second]:.2e} | {row['relative error']:.2e} |"
        )
    out += [
        "",
        "Largest relative error of mantissa and exponent, unrounded line, mantissas of 6 bits",
        "(8-bit codes, exact) or rounded to 9 bits: every 8-bit and 16-bit integer, a million of",
        "32 bits of all magnitudes.",
        "",
        "| function | entries | 8 bits | 16 bits | 32 bits |",
        "|---|---|---|---|---|",
    ]
    for name, entries in PUBLISHED:
        found = [
            f"{row['max']:.2e}"
            for row in data["reduction"]["relative"]
            if (row["function"], row["entries"]) == (name, entries)
        ]
        out.append(f"| {name} | {entries} | {' | '.join(found)} |")

    def pair(errors: dict[str, float]) -> str:
        return f"{errors['max']:.2f} / {errors['mean']:.3f}"

    out += [
        "",
        "Softmax of INT8 codes, error in output codes of 2^-8, greatest / mean, over vectors that",
        "are uniform, normal, one code above equal others, or above three groups of equal ones.",
        "`float`: real softmax, rounded. `direct`: one table of exp over (-8, 0) instead of powers",
        "of two taken apart, all else exact: its absolute error adds up over a long vector.",
        "",
        "| scale | n | float | unit, 8 entries | unit, 16 | direct, 8 | direct, 16 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in data["softmax"]:
        cells = [pair(row[key]) for key in ("float", "unit 8", "unit 16", "direct 8", "direct 16")]
        out.append(f"| 2^{-row['scale']} | {row['n']} | {' | '.join(cells)} |")
    out += [
        "",
        "Normalisation of INT8 codes of scale 2^-4, error in output codes of 2^-5, greatest and",
        "mean; eps 1e-5, gamma as stored in 8 bits.",
        "",
        "| kind | n | float | unit, 8 entries | unit, 16 |",
        "|---|---|---|---|---|",
    ]
    for row in data["normalise"]:
        cells = [pair(row[key]) for key in ("float", "unit 8", "unit 16")]
        out.append(f"| {row['kind']} | {row['n']} | {' | '.join(cells)} |")
    wrong = sum(len(found["mismatches"]) for found in data["exhaustive"].values())
    reduced = sum(found["inputs"] for found in data["exhaustive"].values())
    out += [
        "",
        "Verilog in Icarus against the golden model: stalls on both sides, resets in mid-vector,",
        "vectors of all lengths, back to back.",
        "",
        "| unit | cases | results compared | mismatches | cycles between vectors as stated |",
        "|---|---|---|---|---|",
        f"| range reduction, all of 16 bits and some of 32 | {len(data['exhaustive'])} | "
        f"{reduced:,} | {wrong} | - |",
    ]
    for kind in ("softmax", "normalise"):
        found = data["campaign"][kind]
        out.append(
            f"| {kind} | {found['cases']} | {found['elements']:,} | {len(found['mismatches'])} | "
            f"{found['periods_as_stated']:,} of {found['periods']:,} |"
        )
    out += [
        "",
        "A vector of n takes 2 n + 7 cycles in softmax, its first result n + 9 after its last",
        "element; in normalisation n + 5, and 1 or 2 for the square of the sum.",
    ]
    tools = data["versions"]
    return [*out, "", f"Seed {data['seed']}, NumPy {tools['numpy']}, {tools['icarus']}."]

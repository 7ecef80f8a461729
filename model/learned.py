"""Scales and zero points of a layer that training learns, within the hardware's rules.

Every operator's output has a latent scale (its logarithm to base 2) and a latent zero point, and
every weight matrix a latent scale: 40 real numbers a layer. The forward pass brings them to what
hardware can do: zero points are rounded, and scales become, one after the other in the order of
:mod:`.quantize`, an allowed combined scale M times those that they are linked to. Tables are made
again from the scales on both sides. Gradients are those of every integer constant of the network
(multipliers, zero points, the constants of sums, table entries), carried straight through rounding
and projection to the latent numbers: for every tensor alone that is the gradient of LSQ (arXiv
1902.08153) and LSQ+ (2004.09576), with powers of two that of TQT (1903.08066).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from .calibrate import FUNCTIONS
from .genome import GENES
from .integer import (
    Complement,
    Layer,
    Operator,
    PiecewiseLinear,
    Product,
    Sum,
    code_range,
)
from .piecewise import exact_table, unit_codes
from .quantize import ACTIVATIONS, SUMS, _align
from .scales import allowed, as_fixed_point

DENSE = GENES[:6]
#: Names of latent scales, in their order.
SCALED = (*GENES, *(f"{name}.weight" for name in DENSE))
PRODUCTS = (("p_rn", "a_r", "w_hn"), ("p_zn", "c_z", "a_n"), ("p_zh", "a_z", "s_h"))
_AT = {name: k for k, name in enumerate(SCALED)}
#: A latent zero point moves by one where the range moves by this share of its width.
ZERO_SHARE = 0.25
#: Octaves within which a scale that hangs on no other may be.
REACH = 16.0


@cache
def _logarithms(terms: int | None) -> np.ndarray:
    return np.log2(allowed(terms))


def nearest(ratio: float, terms: int | None) -> tuple[int, int]:
    """The allowed M nearest to ``2**ratio``, as ``(m, n)``."""
    known = _logarithms(terms)
    k = int(np.searchsorted(known, ratio))
    k = min(max(k, 1), len(known) - 1)
    k -= ratio - known[k - 1] < known[k] - ratio
    return as_fixed_point(float(allowed(terms)[k]))


@dataclass(frozen=True)
class Projected:
    """What latent numbers of a layer stand for.

    scales : by :data:`SCALED`, as ``IntModel.info["scales"]``
    dense : multiplier, shift and zero point of the dense operators; others : all other operators
    """

    scales: dict[str, dict[str, Any]]
    dense: dict[str, dict[str, int]]
    others: dict[str, Operator]

    def ops(self, layer: Layer) -> dict[str, Operator]:
        """All operators, with the weights of `layer`."""
        made = {name: replace(layer.dense(name), **found) for name, found in self.dense.items()}
        return {name: made.get(name) or self.others[name] for name in layer.ops}


class LearnedLayer:
    """The latent numbers of one layer.

    layer, scales : where they start, and the widths; terms : ``Knobs.multiplier_terms``
    """

    def __init__(
        self, torch: Any, layer: Layer, scales: Mapping[str, Mapping[str, Any]], terms: int | None
    ) -> None:
        self.torch, self.layer, self.terms = torch, layer, terms
        self.start = np.array([math.log2(scales[name]["scale"]) for name in SCALED])
        self.zero = np.array([int(scales[name]["zero_point"]) for name in GENES])
        self.bits = np.array([layer.bits(name) for name in GENES])
        #: Activation units that stay as they are; None: tables, made again from the scales.
        self.units: dict[str, Operator] | None = None

    def latents(self) -> dict[str, np.ndarray]:
        """Where training starts, float64: scales [23] and zero points [17]."""
        return {"scale": self.start.copy(), "zero": np.zeros(len(GENES))}

    def zeros(self, latent: np.ndarray) -> dict[str, int]:
        """Zero points of latent ones."""
        real = self.zero + latent * (2.0**self.bits * ZERO_SHARE)
        zeros = np.clip(np.floor(real + 0.5), -4096, 4096).astype(int)
        found = dict(zip(GENES, zeros.tolist(), strict=True))
        # The initial state is real zero, so the state must have a code for it.
        low, high = code_range(self.layer.bits("s_h"))
        found["s_h"] = min(max(found["s_h"], low), high)
        return found

    def project(self, scale: np.ndarray, zero: np.ndarray, in_scale: float) -> Projected:
        """What hardware makes of latent numbers."""
        terms, zeros = self.terms, self.zeros(zero)
        latent = dict(zip(SCALED, scale.tolist(), strict=True))
        made: dict[str, float] = {}
        for name in ("s_r", "s_z", "s_n", "a_r", "s_h"):
            made[name] = 2.0 ** min(max(latent[name], -REACH), REACH)

        def link(name: str, base: float, inverse: bool = False) -> tuple[int, int]:
            """Scale `name` as an allowed multiple (fraction) of `base`."""
            ratio = latent[name] - math.log2(base)
            m, n = nearest(-ratio if inverse else ratio, terms)
            factor = m * 2.0**-n
            made[name] = base / factor if inverse else base * factor
            return m, n

        sums = {name: [link(child, made[name]) for child in children] for name, *children in SUMS}
        products = {
            "p_rn": link("w_hn", made["p_rn"] / made["a_r"]),
            "p_zh": link("a_z", made["p_zh"] / made["s_h"]),
        }
        complement = link("c_z", made["a_z"], inverse=True)
        products["p_zn"] = link("a_n", made["p_zn"] / made["c_z"])
        dense = {}
        for name in DENSE:
            operand = in_scale if name[2] == "i" else made["s_h"]
            m, n = link(f"{name}.weight", made[name] / operand)
            dense[name] = {"multiplier": m, "shift": n, "zero_point": zeros[name]}
        return Projected(
            {name: {"scale": made[name], "zero_point": zeros.get(name, 0)} for name in SCALED},
            dense, self._others(made, zeros, sums, products, complement),
        )  # fmt: skip

    def _others(
        self, made: Mapping[str, float], zeros: Mapping[str, int],
        sums: Mapping[str, list[tuple[int, int]]], products: Mapping[str, tuple[int, int]],
        complement: tuple[int, int],
    ) -> dict[str, Operator]:  # fmt: skip
        ops: dict[str, Operator] = {}
        for name, _, _ in SUMS:
            (ma, mb), shift = _align(sums[name], self.terms)
            ops[name] = self._pair(name, Sum, zeros, multiplier_a=ma, multiplier_b=mb, shift=shift)
        for name, _, _ in PRODUCTS:
            m, n = products[name]
            ops[name] = self._pair(name, Product, zeros, multiplier=m, shift=n)
        m, n = complement
        ops["c_z"] = Complement(
            a_bits=self.layer.bits("a_z"), out_bits=self.layer.bits("c_z"),
            a_zero_point=zeros["a_z"], multiplier=m, one=math.floor(2**n / made["c_z"] + 0.5),
            shift=n, zero_point=zeros["c_z"],
        )  # fmt: skip
        for name in ACTIVATIONS:
            ops[name] = self.units[name] if self.units else exact_table(
                self.target(name, made, zeros), self.layer.bits(f"s_{name[-1]}"),
                self.layer.bits(name),
            )  # fmt: skip
        return ops

    def _pair(self, name: str, cls: Any, zeros: Mapping[str, int], **given: int) -> Any:
        a, b = next((a, b) for one, a, b in (*SUMS, *PRODUCTS) if one == name)
        bits = self.layer.bits
        return cls(
            a_bits=bits(a), b_bits=bits(b), out_bits=bits(name), a_zero_point=zeros[a],
            b_zero_point=zeros[b], zero_point=zeros[name], **given,
        )  # fmt: skip

    def target(self, name: str, made: Mapping[str, float], zeros: Mapping[str, int]) -> np.ndarray:
        """Real output codes of activation `name` for all input codes."""
        source = f"s_{name[-1]}"
        low, high = code_range(self.layer.bits(source))
        inputs = (np.arange(low, high + 1) - zeros[source]) * made[source]
        return FUNCTIONS[source](inputs) / made[name] + zeros[name]

    def differentiable(
        self, found: Projected, scale: Any, zero: Any, in_scale: Any
    ) -> "Differentiable":
        """The constants of `found`, through which gradients reach the latent `scale`, `zero` and
        the operand's scale (a number or a tensor)."""
        torch = self.torch
        exact = torch.tensor([found.scales[name]["scale"] for name in SCALED], dtype=torch.float64)
        real = exact * torch.exp2(scale - scale.detach())
        fixed = torch.tensor([found.scales[name]["zero_point"] for name in GENES],
                             dtype=torch.float64)  # fmt: skip
        share = torch.from_numpy(2.0**self.bits * ZERO_SHARE)
        zeros = fixed + (zero - zero.detach()) * share
        s = dict(zip(SCALED, real.unbind(), strict=True))
        z = dict(zip(GENES, zeros.unbind(), strict=True))

        def through(value: float, ratio: Any) -> Any:
            """`value`, with the relative gradient of `ratio`."""
            return value * (ratio / ratio.detach())

        factors = []
        for name in DENSE:
            one = found.dense[name]
            operand = in_scale if name[2] == "i" else s["s_h"]
            factors.append(through(one["multiplier"] * 2.0 ** -one["shift"],
                                   s[f"{name}.weight"] * operand / s[name]))  # fmt: skip
        none = torch.zeros((), dtype=torch.float64)
        rows = {}
        for name, a, b in SUMS:
            op: Any = found.others[name]
            fa = through(op.multiplier_a * 2.0**-op.shift, s[a] / s[name])
            fb = through(op.multiplier_b * 2.0**-op.shift, s[b] / s[name])
            rows[name] = [fa, fb, -fa * z[a] - fb * z[b] + z[name], none]
        for name, a, b in PRODUCTS:
            op = found.others[name]
            rows[name] = [z[a], z[b], through(op.multiplier * 2.0**-op.shift,
                                              s[a] * s[b] / s[name]), z[name]]  # fmt: skip
        op = found.others["c_z"]
        factor = through(op.multiplier * 2.0**-op.shift, s["a_z"] / s["c_z"])
        one = through(op.one * 2.0**-op.shift, 1 / s["c_z"])
        rows["c_z"] = [-factor, none, one + factor * z["a_z"] + z["c_z"], none]
        names = ("s_r", "s_z", "p_rn", "s_n", "c_z", "p_zn", "p_zh", "s_h")
        ops = torch.stack([value for name in names for value in rows[name]]).view(8, 4)
        dense_zeros = torch.stack([z[name] for name in DENSE])
        return Differentiable(
            torch.stack(factors), dense_zeros, ops, self._tables(found, s, z), s, z["s_h"]
        )

    def _tables(self, found: Projected, s: Mapping[str, Any], z: Mapping[str, Any]) -> Any:
        torch, tables = self.torch, []
        for name in ACTIVATIONS:
            op, source = found.others[name], f"s_{name[-1]}"
            codes = unit_codes(op) if isinstance(op, PiecewiseLinear) else op.table
            low, high = code_range(self.layer.bits(source))
            inputs = (torch.arange(low, high + 1, dtype=torch.float64) - z[source]) * s[source]
            function = torch.tanh if source == "s_n" else torch.sigmoid
            real = function(inputs) / s[name] + z[name]
            low, high = code_range(self.layer.bits(name))
            passed = (real >= low - 0.5) & (real <= high + 0.5)
            value = torch.from_numpy(codes.astype(np.float64)) + passed * (real - real.detach())
            tables.append(torch.cat([value, torch.zeros(256 - len(value), dtype=value.dtype)]))
        return torch.stack(tables).float()


@dataclass(frozen=True)
class Differentiable:
    """Constants of a layer as tensors that lead back to the latent numbers.

    factors, zeros [6] : M and zero points of the dense outputs
    ops [8, 4] : rows as those of the kernels' constants, less the codes' limits
    tables : float32 [3, 256]; scales : by :data:`SCALED`; state_zero : zero point of the state
    """

    factors: Any
    zeros: Any
    ops: Any
    tables: Any
    scales: Mapping[str, Any]
    state_zero: Any

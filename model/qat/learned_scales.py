"""Scales of a layer that training learns, within the hardware's rules.

Every operator's output and every weight matrix has a latent scale (its logarithm to base 2), 23
real numbers a layer. The forward pass brings them to what hardware can do: one after the other in
the order of :mod:`genogate.model.quantize.quantize`, scales become an allowed combined scale M
times those that they are linked to. Tables are made again from the scales on both sides. Gradients
are those of every constant of the integer network (multipliers, constants of sums, table entries),
carried straight through rounding and projection to the latent numbers: for every tensor alone that
is the gradient of LSQ (arXiv 1902.08153), with powers of two that of TQT (1903.08066). Zero points
stay: the few runs in which they were learned too were no better, and calibration prefers those that
cost no adder.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from ..genome import GENES
from ..integer import Complement, Layer, Operator, PiecewiseLinear, Product, Sum, Table, code_range
from ..knobs import Knobs
from ..quantize.activations import exact_table, unit_codes
from ..quantize.calibrate import Calibration
from ..quantize.error_curves import FUNCTIONS
from ..quantize.layer import ACTIVATIONS, SUMS, _align
from ..quantize.parts import activation_candidates
from ..quantize.quantize import Cheapest
from ..quantize.scales import KEPT_GATES, allowed, as_fixed_point, kept_format

DENSE = GENES[:6]
#: Names of latent scales, in their order.
SCALED = (*GENES, *(f"{name}.weight" for name in DENSE))
PRODUCTS = (("p_rn", "a_r", "w_hn"), ("p_zn", "c_z", "a_n"), ("p_zh", "a_z", "s_h"))
_AT = {name: k for k, name in enumerate(SCALED)}
#: Octaves within which a scale that hangs on no other may be.
REACH = 16.0


@cache
def _logarithms(terms: int | None) -> np.ndarray:
    return np.log2(allowed(terms))


def nearest(ratio: float, terms: int | None) -> tuple[int, int]:
    """The allowed M nearest to ``2**ratio``, as ``(m, n)``."""
    logarithms = _logarithms(terms)
    k = int(np.searchsorted(logarithms, ratio))
    k = min(max(k, 1), len(logarithms) - 1)
    k -= ratio - logarithms[k - 1] < logarithms[k] - ratio
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
        ops = {}
        for name, moved in self.dense.items():
            given: dict[str, Any] = {**moved}
            ops[name] = replace(layer.dense(name), **given)
        return {name: ops.get(name) or self.others[name] for name in layer.ops}


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
        #: Activation units that stay as they are; None: tables, made again from the scales.
        self.units: dict[str, Operator] | None = None

    def project(self, scale: np.ndarray, in_scale: float) -> Projected:
        """What hardware makes of latent scales [23]."""
        terms, zeros = self.terms, dict(zip(GENES, self.zero.tolist(), strict=True))
        latent = dict(zip(SCALED, scale.tolist(), strict=True))
        scales: dict[str, float] = {}
        for name in ("s_r", "s_z", "s_n", "a_r", "s_h"):
            scales[name] = 2.0 ** min(max(latent[name], -REACH), REACH)

        def link(name: str, base: float, inverse: bool = False) -> tuple[int, int]:
            """Scale `name` as an allowed multiple (fraction) of `base`."""
            ratio = latent[name] - math.log2(base)
            m, n = nearest(-ratio if inverse else ratio, terms)
            factor = m * 2.0**-n
            scales[name] = base / factor if inverse else base * factor
            return m, n

        sums = {name: [link(child, scales[name]) for child in children] for name, *children in SUMS}
        products = {
            "p_rn": link("w_hn", scales["p_rn"] / scales["a_r"]),
            "p_zh": link("a_z", scales["p_zh"] / scales["s_h"]),
        }
        complement = link("c_z", scales["a_z"], inverse=True)
        products["p_zn"] = link("a_n", scales["p_zn"] / scales["c_z"])
        dense = {}
        for name in DENSE:
            operand = in_scale if name[2] == "i" else scales["s_h"]
            m, n = link(f"{name}.weight", scales[name] / operand)
            dense[name] = {"multiplier": m, "shift": n, "zero_point": zeros[name]}
        return Projected(
            {name: {"scale": scales[name], "zero_point": zeros.get(name, 0)} for name in SCALED},
            dense,
            self._others(scales, zeros, sums, products, complement),
        )

    def _others(
        self,
        scales: Mapping[str, float],
        zeros: Mapping[str, int],
        sums: Mapping[str, list[tuple[int, int]]],
        products: Mapping[str, tuple[int, int]],
        complement: tuple[int, int],
    ) -> dict[str, Operator]:
        ops: dict[str, Operator] = {}
        for name, _, _ in SUMS:
            (ma, mb), shift = _align(sums[name], self.terms)
            ops[name] = self._pair(name, Sum, zeros, multiplier_a=ma, multiplier_b=mb, shift=shift)
        for name, _, _ in PRODUCTS:
            m, n = products[name]
            ops[name] = self._pair(name, Product, zeros, multiplier=m, shift=n)
        m, n = complement
        ops["c_z"] = Complement(
            a_bits=self.layer.bits("a_z"),
            out_bits=self.layer.bits("c_z"),
            a_zero_point=zeros["a_z"],
            multiplier=m,
            one=math.floor(2**n / scales["c_z"] + 0.5),
            shift=n,
            zero_point=zeros["c_z"],
        )
        for name in ACTIVATIONS:
            ops[name] = (
                self.units[name]
                if self.units
                else exact_table(
                    self.target(name, scales, zeros),
                    self.layer.bits(f"s_{name[-1]}"),
                    self.layer.bits(name),
                )
            )
        return ops

    def _pair(self, name: str, cls: Any, zeros: Mapping[str, int], **given: int) -> Any:
        a, b = next((a, b) for one, a, b in (*SUMS, *PRODUCTS) if one == name)
        bits = self.layer.bits
        return cls(
            a_bits=bits(a),
            b_bits=bits(b),
            out_bits=bits(name),
            a_zero_point=zeros[a],
            b_zero_point=zeros[b],
            zero_point=zeros[name],
            **given,
        )

    def target(
        self, name: str, scales: Mapping[str, float], zeros: Mapping[str, int]
    ) -> np.ndarray:
        """Real output codes of activation `name` for all input codes."""
        source = f"s_{name[-1]}"
        low, high = code_range(self.layer.bits(source))
        inputs = (np.arange(low, high + 1) - zeros[source]) * scales[source]
        return FUNCTIONS[source](inputs) / scales[name] + zeros[name]

    def differentiable(self, projected: Projected, scale: Any, in_scale: Any) -> "Differentiable":
        """The constants of `projected`, through which gradients reach the latent `scale` and the
        operand's scale (a number or a tensor)."""
        torch = self.torch
        exact = torch.tensor(
            [projected.scales[name]["scale"] for name in SCALED], dtype=torch.float64
        )
        real = exact * torch.exp2(scale - scale.detach())
        s = dict(zip(SCALED, real.unbind(), strict=True))
        z = {name: projected.scales[name]["zero_point"] for name in GENES}

        def through(value: float, ratio: Any) -> Any:
            """`value`, with the relative gradient of `ratio`."""
            return value * (ratio / ratio.detach())

        factors = []
        for name in DENSE:
            one = projected.dense[name]
            operand = in_scale if name[2] == "i" else s["s_h"]
            factors.append(
                through(
                    one["multiplier"] * 2.0 ** -one["shift"],
                    s[f"{name}.weight"] * operand / s[name],
                )
            )
        none = torch.zeros((), dtype=torch.float64)
        rows = {}
        for name, a, b in SUMS:
            op: Any = projected.others[name]
            fa = through(op.multiplier_a * 2.0**-op.shift, s[a] / s[name])
            fb = through(op.multiplier_b * 2.0**-op.shift, s[b] / s[name])
            rows[name] = [fa, fb, -fa * z[a] - fb * z[b]]
        for name, a, b in PRODUCTS:
            op = projected.others[name]
            factor = through(op.multiplier * 2.0**-op.shift, s[a] * s[b] / s[name])
            rows[name] = [none, none, factor]
        op = projected.others["c_z"]
        factor = through(op.multiplier * 2.0**-op.shift, s["a_z"] / s["c_z"])
        one = through(op.one * 2.0**-op.shift, 1 / s["c_z"])
        rows["c_z"] = [-factor, none, one + factor * z["a_z"]]
        names = ("s_r", "s_z", "p_rn", "s_n", "c_z", "p_zn", "p_zh", "s_h")
        ops = torch.stack([value for name in names for value in rows[name]]).view(8, 3)
        return Differentiable(torch.stack(factors), ops, self._tables(projected, s, z), s)

    def _tables(self, projected: Projected, s: Mapping[str, Any], z: Mapping[str, Any]) -> Any:
        torch, tables = self.torch, []
        for name in ACTIVATIONS:
            source = f"s_{name[-1]}"
            op = projected.others[name]
            assert isinstance(op, Table | PiecewiseLinear)
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


def keep_state(layers: Sequence[LearnedLayer]) -> bool:
    """Give narrow gates z and 1 - z codes for 0 and 1 (:func:`..quantize.scales.kept_format`);
    whether there are such. At 2 bits mnist-row, 28 steps, was not trained at all without."""
    narrow = False
    for layer in layers:
        for name in KEPT_GATES:
            if form := kept_format(name, layer.layer.bits(name)):
                layer.start[_AT[name]] = math.log2(form[0])
                layer.zero[_AT[name]] = form[1]
                narrow = True
    return narrow


def choose_units(
    layers: Sequence[LearnedLayer],
    projected: Sequence[Projected],
    calibration: Calibration,
    knobs: Knobs,
    cheapest: Cheapest,
) -> None:
    """Give the layers the activation units that `knobs` ask for, for the scales in `projected`."""
    groups = [
        activation_candidates(
            name,
            statistics.tensors[source := f"s_{name[-1]}"],
            a_bits=layer.layer.bits(source),
            a_scale=one.scales[source]["scale"],
            a_zero=one.scales[source]["zero_point"],
            out_bits=layer.layer.bits(name),
            scale=one.scales[name]["scale"],
            zero=one.scales[name]["zero_point"],
            knobs=knobs,
        )
        for layer, one, statistics in zip(layers, projected, calibration.layers, strict=True)
        for name in ACTIVATIONS
    ]
    units = iter(group[k] for group, k in zip(groups, cheapest(groups), strict=True))
    for layer in layers:
        layer.units = {name: next(units) for name in ACTIVATIONS}


@dataclass(frozen=True)
class Differentiable:
    """Constants of a layer as tensors that lead back to the latent numbers.

    factors [6] : M of the dense outputs
    ops [8, 3] : rows as those of the kernels' constants, less the codes' limits
    tables : float32 [3, 256]; scales : by :data:`SCALED`
    """

    factors: Any
    ops: Any
    tables: Any
    scales: Mapping[str, Any]

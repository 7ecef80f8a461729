"""The compiled twin of the golden model, for searches that evaluate thousands of genomes.

Numba fuses the element-wise operators of a time step into one loop; the dense operators run
through float32 BLAS, the three gates of a side in one product. Every result bit equals
:func:`.golden.run` (held by tests). Models whose numbers do not provably fit the
compiled types are handed to the golden model, so the function is total.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numba import njit

from ..model.genome import GENES
from ..model.integer import (
    OPERANDS,
    Complement,
    Dense,
    IntModel,
    Layer,
    PiecewiseLinear,
    Product,
    Sum,
    Table,
    code_range,
    half,
)
from . import golden

_INT32 = (1 << 31) - 1
#: Sequences evaluated together: the working set of a block stays in the second-level cache.
BLOCK = 256


# Numba widens int32 arithmetic to int64; the casts keep the loops in int32 vector lanes. What is
# shifted right fits, which is checked beforehand (`_Plan.ok`), so no bit is lost; sums and products
# on the way there may wrap around.
@njit(inline="always")
def _scaled(acc, row, constant, shift):
    value = np.int32(np.int32(np.int32(acc) * row[0]) + constant)
    return np.int32(min(max(np.int32(value >> shift), row[1]), row[2]))


@njit(inline="always")
def _affine(a, ma, b, mb, constant, shift, low, high):
    value = np.int32(np.int32(np.int32(ma * a) + np.int32(mb * b)) + constant)
    return np.int32(min(max(np.int32(value >> shift), low), high))


@njit(inline="always")
def _product(a, b, m, constant, shift, low, high):
    value = np.int32(np.int32(np.int32(a * b) * m) + constant)
    return np.int32(min(max(np.int32(value >> shift), low), high))


# One long function: the loops over a unit's operators share its rows, and constants are unpacked
# into locals once, which the compiler can hold in registers.
@njit(cache=True, boundscheck=False, error_model="numpy")
def _step(acc_x, acc_h, unit, dense, s, tr, tz, tn, state):
    """One time step of the element-wise operators, unit by unit, vectorised over the batch. Codes
    between them are kept less a base each (:data:`_PRODUCTS`), tables are read by its low eight
    bits.

    acc_x, acc_h : float32 [3 H, batch], exact integer sums without bias; unit : int32 [6, 2, H],
    constant and shift of each dense output; dense : int32 [6, 3], multiplier, lowest and highest
    of each dense operator; s : int32 scalars of the others, and the state's base;
    tr, tz, tn : int32 [256]; state : float32 [H, batch], old codes in, new codes out.
    """
    hidden, batch = state.shape
    ra, rb, rc, rn, rl, rh = s[0:6]
    za, zb, zc, zn, zl, zh = s[6:12]
    pm, pc, pn, pl, ph = s[12:17]
    na, nb, nc, nn, nl, nh = s[17:23]
    cm, cc, cn, cl, ch = s[23:28]
    qm, qc, qn, ql, qh = s[28:33]
    um, uc, un, ul, uh = s[33:38]
    ha, hb, hc, hn, hl, hh = s[38:44]
    base = s[44]
    one, zero = np.int32(1), np.int32(0)
    index_r, index_z = np.empty(batch, np.uint8), np.empty(batch, np.uint8)
    xn, hn_code = np.empty(batch, np.int32), np.empty(batch, np.int32)
    r, z, n = np.empty(batch, np.int32), np.empty(batch, np.int32), np.empty(batch, np.int32)
    for i in range(hidden):
        x0, x1, x2 = acc_x[i], acc_x[hidden + i], acc_x[2 * hidden + i]
        h0, h1, h2 = acc_h[i], acc_h[hidden + i], acc_h[2 * hidden + i]
        g0, g1, g2 = unit[0, 0, i], unit[1, 0, i], unit[2, 0, i]
        g3, g4, g5 = unit[3, 0, i], unit[4, 0, i], unit[5, 0, i]
        k0, k1, k2 = unit[0, 1, i], unit[1, 1, i], unit[2, 1, i]
        k3, k4, k5 = unit[3, 1, i], unit[4, 1, i], unit[5, 1, i]
        d0 = (dense[0, 0], dense[0, 1], dense[0, 2])
        d1 = (dense[1, 0], dense[1, 1], dense[1, 2])
        d2 = (dense[2, 0], dense[2, 1], dense[2, 2])
        d3 = (dense[3, 0], dense[3, 1], dense[3, 2])
        d4 = (dense[4, 0], dense[4, 1], dense[4, 2])
        d5 = (dense[5, 0], dense[5, 1], dense[5, 2])
        for b in range(batch):
            v = _scaled(x0[b], d0, g0, k0)
            w = _scaled(h0[b], d3, g3, k3)
            index_r[b] = np.uint8(_affine(v, ra, w, rb, rc, rn, rl, rh))
        for b in range(batch):
            v = _scaled(x1[b], d1, g1, k1)
            w = _scaled(h1[b], d4, g4, k4)
            index_z[b] = np.uint8(_affine(v, za, w, zb, zc, zn, zl, zh))
        for b in range(batch):
            xn[b] = _scaled(x2[b], d2, g2, k2)
            hn_code[b] = _scaled(h2[b], d5, g5, k5)
        for b in range(batch):
            r[b] = tr[index_r[b]]
            z[b] = tz[index_z[b]]
        for b in range(batch):
            p = _product(r[b], hn_code[b], pm, pc, pn, pl, ph)
            index_r[b] = np.uint8(_affine(xn[b], na, p, nb, nc, nn, nl, nh))
        for b in range(batch):
            n[b] = tn[index_r[b]]
        row = state[i]
        for b in range(batch):
            c = _affine(z[b], cm, one, zero, cc, cn, cl, ch)
            q = _product(c, n[b], qm, qc, qn, ql, qh)
            u = _product(z[b], np.int32(np.int32(row[b]) - base), um, uc, un, ul, uh)
            row[b] = np.float32(_affine(q, ha, u, hb, hc, hn, hl, hh))


#: The products, and the operators whose codes they multiply. A product subtracts zero points from
#: both, so that these codes are kept less the zero point by which they are read; the state is not,
#: since matrices read it too. The codes of others are kept less their own.
_PRODUCTS = {"p_rn": ("a_r", "w_hn"), "p_zn": ("c_z", "a_n"), "p_zh": ("a_z", "h")}
_ELEMENTWISE = ("s_r", "s_z", "p_rn", "s_n", "c_z", "p_zn", "p_zh", "s_h")


class _Plan:
    """The constants of one layer in the kernel's types; `ok` tells whether all of them fit."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        #: Magnitudes that must stay below 2^31.
        self._bounds: list[int] = []
        ops: Mapping[str, Any] = layer.ops
        self._base = {name: ops[name].zero_point for name in ("s_r", "s_z", "s_n", *GENES[:5])}
        self._base |= {name: ops[name].zero_point for name in _PRODUCTS}
        for product, (a, b) in _PRODUCTS.items():
            self._base |= {a: ops[product].a_zero_point, b: ops[product].b_zero_point}
        # The new state is given as it is; the kernel subtracts what the old one is read less.
        self._base["s_h"] = 0
        self.weights, unit, dense = [], [], []
        for side in (GENES[:3], GENES[3:6]):
            rows = [self._dense(name, layer.dense(name)) for name in side]
            self.weights.append(np.concatenate([row[0] for row in rows]).astype(np.float32))
            unit += [row[1] for row in rows]
            dense += [row[2] for row in rows]
        scalars = [value for name in _ELEMENTWISE for value in self._elementwise(name, ops[name])]
        scalars.append(self._base["h"])
        self.ok = max(self._bounds) <= _INT32
        if self.ok:
            # Constants may wrap around: what they are added to does too.
            self.unit = np.array(unit, np.int64).astype(np.int32)
            self.dense = np.array(dense, np.int32)
            self.scalars = tuple(np.int64(value).astype(np.int32) for value in scalars)
            self.tables = [
                self._table(ops[name], self._base[reads], self._base[name])
                for name, reads in (("a_r", "s_r"), ("a_z", "s_z"), ("a_n", "s_n"))
            ]

    def _ends(self, name: str, op: Any) -> tuple[int, int, int]:
        """What is added before the shift so that the codes of `op` come less their base, and the
        least and the greatest of them."""
        base = self._base[name]
        low, high = code_range(op.out_bits)
        return op.zero_point - base, low - base, high - base

    def _dense(self, name: str, mac: Dense) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Weights, constants and shifts of the units, and scalars of a dense operator."""
        shift = mac.shift + mac.channel_shift.astype(np.int64)
        more, low, high = self._ends(name, mac)
        tail = (more << shift) + ((1 << shift) >> 1)
        self._bounds += [
            # Below 2^24 every float32 partial sum is exact.
            int(np.abs(mac.weight.astype(np.int64)).sum(1).max()) << (mac.in_bits - 1 + 31 - 24),
            max(abs(mac.acc_min), abs(mac.acc_max)) * mac.multiplier + int(np.abs(tail).max()),
            int(shift.max()) << 26,
        ]
        constants = mac.bias.astype(np.int64) * mac.multiplier + tail
        return mac.weight, np.stack([constants, shift]), [mac.multiplier, low, high]

    def _elementwise(self, name: str, op: Sum | Product | Complement) -> list[int]:
        """Scalars of an element-wise operator, in the kernel's order."""
        more, low, high = self._ends(name, op)
        tail = (more << op.shift) + half(op.shift)
        bases = [self._base[operand] for operand in OPERANDS[name]]
        if isinstance(op, Product):
            factors = [op.multiplier]
            reach = (128 + abs(bases[0])) * (128 + abs(bases[1])) * op.multiplier
        elif isinstance(op, Sum):
            factors = [op.multiplier_a, op.multiplier_b]
            read = [
                base - zero
                for base, zero in zip(bases, (op.a_zero_point, op.b_zero_point), strict=True)
            ]
            tail += sum(m * more for m, more in zip(factors, read, strict=True))
            reach = sum(m * (128 + abs(base)) for m, base in zip(factors, bases, strict=True))
        else:
            factors = [-op.multiplier]
            tail += op.one - op.multiplier * (bases[0] - op.a_zero_point)
            reach = (128 + abs(bases[0])) * op.multiplier
        self._bounds += [abs(tail) + reach, op.shift << 26]
        return [*factors, tail, op.shift, low, high]

    @staticmethod
    def _table(op: Table | PiecewiseLinear, base: int, own: int) -> np.ndarray:
        """Codes of a unit less its base `own`, at the low eight bits of the input less `base`."""
        low, high = code_range(op.a_bits)
        codes = np.arange(low, high + 1)
        table = np.zeros(256, np.int32)
        table[(codes - base) & 255] = golden.activation(op, codes) - own
        return table

    def run(self, x: np.ndarray, every: bool) -> np.ndarray:
        """States float32 [steps, units, batch], or [1, units, batch] of the last step alone, for
        codes x float32 [steps, inputs, batch]."""
        steps, _, batch = x.shape
        shape = self.layer.hidden_size, batch
        states = np.empty((steps if every else 1, *shape), np.float32)
        state = np.empty(shape, np.float32)
        state[:] = self.layer.first_state[:, None]
        # Fresh pages for every product took twice the time of the product.
        acc_x, acc_h = (np.empty((len(weights), batch), np.float32) for weights in self.weights)
        for step in range(steps):
            np.matmul(self.weights[0], x[step], out=acc_x)
            np.matmul(self.weights[1], state, out=acc_h)
            _step(acc_x, acc_h, self.unit, self.dense, self.scalars, *self.tables, state)
            if every:
                states[step] = state
        return states if every else state[None]


def run(
    model: IntModel,
    codes: np.ndarray,
    *,
    every: bool = True,
    lengths: np.ndarray | None = None,
) -> golden.Result:
    """As :func:`.golden.run` without a trace: the same bits, several times faster.

    every : whether ``hidden`` holds the states of all steps, or [batch, 1, units] of the last;
        all where the head answers at every step, or sequences differ in length
    lengths : steps of each sequence, as for :func:`.golden.run`
    """
    x = golden.check_codes(model, codes)
    every = every or model.head.every or lengths is not None
    plans = [_Plan(layer) for layer in model.layers]
    if not all(plan.ok for plan in plans):
        result = golden.run(model, x, lengths=lengths)
        return result if every else replace(result, hidden=result.hidden[:, -1:])
    steps = x.shape[1] if every else 1
    hidden = np.empty((len(x), steps, model.layers[-1].hidden_size), np.int64)
    for start in range(0, len(x), BLOCK):
        block = golden.dense_layers(model.front, "front", x[start : start + BLOCK])
        states = np.ascontiguousarray(block.transpose(1, 2, 0), np.float32)
        for plan in plans:
            states = plan.run(states, every or plan is not plans[-1])
        hidden[start : start + BLOCK] = states.transpose(2, 0, 1)
    return golden.answer(model, hidden, lengths=lengths)


def scores(model: IntModel, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """As :func:`.golden.scores`."""
    return golden.scores(model, x, y, partial(run, every=False))


def accuracy(model: IntModel, x: np.ndarray, y: np.ndarray) -> float:
    """As :func:`.golden.accuracy`."""
    return golden.accuracy(model, x, y, partial(run, every=False))

"""The compiled twin of the golden model, for searches that evaluate thousands of genomes.

Numba fuses the element-wise operators of a time step into one loop; the dense operators run
through float32 BLAS, the three gates of a side in one product. Every result bit equals
:func:`.golden.run` (held by tests). Models whose numbers do not provably fit the
compiled types are handed to the golden model, so the function is total.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numba import njit

from ..model.genome import GENES
from ..model.integer import (
    Complement,
    IntModel,
    Layer,
    Operator,
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


# Numba widens int32 arithmetic to int64; the casts keep the loops in int32 vector lanes. All bounds
# are checked beforehand (`_Plan.ok`), so no cast loses a bit.
@njit(inline="always")
def _scaled(acc, bias, row, shift, rounding):
    value = np.int32(np.int32(np.int32(acc) + bias) * row[0])
    value = np.int32(np.int32(np.int32(value + rounding) >> shift) + row[1])
    return np.int32(min(max(value, row[2]), row[3]))


@njit(inline="always")
def _affine(a, ma, b, mb, constant, shift, low, high):
    value = np.int32(np.int32(np.int32(ma * a) + np.int32(mb * b)) + constant)
    return np.int32(min(max(np.int32(value >> shift), low), high))


@njit(inline="always")
def _product(a, za, b, zb, m, constant, shift, low, high):
    value = np.int32(np.int32(np.int32(a - za) * np.int32(b - zb)) * m)
    return np.int32(min(max(np.int32(np.int32(value + constant) >> shift), low), high))


# One long function: the loops over a unit's operators share its rows, and constants are unpacked
# into locals once, which the compiler can hold in registers.
@njit(cache=True, boundscheck=False, error_model="numpy")
def _step(acc_x, acc_h, unit, dense, s, tr, tz, tn, state):
    """One time step of the element-wise operators, unit by unit, vectorised over the batch.

    acc_x, acc_h : float32 [3 H, batch], exact integer sums without bias; unit : int32 [6, 3, H],
    bias, shift and rounding constant of each dense output; dense : int32 [6, 4], multiplier, zero
    point, lowest and highest code of each dense operator; s : int32 scalars of the others;
    tr, tz, tn : int32 tables; state : float32 [H, batch], old state in, new state out.
    """
    hidden, batch = state.shape
    (
        ra,
        rb,
        rc,
        rn,
        rl,
        rh,
        za,
        zb,
        zc,
        zn,
        zl,
        zh,
        pa,
        pb,
        pm,
        pc,
        pn,
        pl,
        ph,
        na,
        nb,
        nc,
        nn,
        nl,
        nh,
        cm,
        cc,
        cn,
        cl,
        ch,
        qa,
        qb,
        qm,
        qc,
        qn,
        ql,
        qh,
        ua,
        ub,
        um,
        uc,
        un,
        ul,
        uh,
        ha,
        hb,
        hc,
        hn,
        hl,
        hh,
        ro,
        zo,
        no,
    ) = s
    one, zero = np.int32(1), np.int32(0)
    index_r, index_z = np.empty(batch, np.uint8), np.empty(batch, np.uint8)
    xn, hn_code = np.empty(batch, np.int32), np.empty(batch, np.int32)
    r, z, n = np.empty(batch, np.int32), np.empty(batch, np.int32), np.empty(batch, np.int32)
    for i in range(hidden):
        x0, x1, x2 = acc_x[i], acc_x[hidden + i], acc_x[2 * hidden + i]
        h0, h1, h2 = acc_h[i], acc_h[hidden + i], acc_h[2 * hidden + i]
        b0, b1, b2 = unit[0, 0, i], unit[1, 0, i], unit[2, 0, i]
        b3, b4, b5 = unit[3, 0, i], unit[4, 0, i], unit[5, 0, i]
        k0, k1, k2 = unit[0, 1, i], unit[1, 1, i], unit[2, 1, i]
        k3, k4, k5 = unit[3, 1, i], unit[4, 1, i], unit[5, 1, i]
        g0, g1, g2 = unit[0, 2, i], unit[1, 2, i], unit[2, 2, i]
        g3, g4, g5 = unit[3, 2, i], unit[4, 2, i], unit[5, 2, i]
        d0 = (dense[0, 0], dense[0, 1], dense[0, 2], dense[0, 3])
        d1 = (dense[1, 0], dense[1, 1], dense[1, 2], dense[1, 3])
        d2 = (dense[2, 0], dense[2, 1], dense[2, 2], dense[2, 3])
        d3 = (dense[3, 0], dense[3, 1], dense[3, 2], dense[3, 3])
        d4 = (dense[4, 0], dense[4, 1], dense[4, 2], dense[4, 3])
        d5 = (dense[5, 0], dense[5, 1], dense[5, 2], dense[5, 3])
        for b in range(batch):
            v = _scaled(x0[b], b0, d0, k0, g0)
            w = _scaled(h0[b], b3, d3, k3, g3)
            index_r[b] = np.uint8(_affine(v, ra, w, rb, rc, rn, rl, rh) + ro)
        for b in range(batch):
            v = _scaled(x1[b], b1, d1, k1, g1)
            w = _scaled(h1[b], b4, d4, k4, g4)
            index_z[b] = np.uint8(_affine(v, za, w, zb, zc, zn, zl, zh) + zo)
        for b in range(batch):
            xn[b] = _scaled(x2[b], b2, d2, k2, g2)
            hn_code[b] = _scaled(h2[b], b5, d5, k5, g5)
        for b in range(batch):
            r[b] = tr[index_r[b]]
            z[b] = tz[index_z[b]]
        for b in range(batch):
            p = _product(r[b], pa, hn_code[b], pb, pm, pc, pn, pl, ph)
            index_r[b] = np.uint8(_affine(xn[b], na, p, nb, nc, nn, nl, nh) + no)
        for b in range(batch):
            n[b] = tn[index_r[b]]
        row = state[i]
        for b in range(batch):
            c = _affine(z[b], cm, one, zero, cc, cn, cl, ch)
            q = _product(c, qa, n[b], qb, qm, qc, qn, ql, qh)
            u = _product(z[b], ua, np.int32(row[b]), ub, um, uc, un, ul, uh)
            row[b] = np.float32(_affine(q, ha, u, hb, hc, hn, hl, hh))


def _table(op: Operator) -> np.ndarray:
    low, high = code_range(op.a_bits)  # type: ignore[union-attr]
    if isinstance(op, Table):
        return op.table.astype(np.int32)
    return golden.activation(op, np.arange(low, high + 1)).astype(np.int32)  # type: ignore[arg-type]


class _Plan:
    """The constants of one layer in the kernel's types; `ok` tells whether all of them fit."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        ops = layer.ops
        bounds: list[int] = []
        self.weights, unit, dense = [], [], []
        for side in (GENES[:3], GENES[3:6]):
            matrices = []
            for name in side:
                mac = layer.dense(name)
                shift = mac.shift + mac.channel_shift.astype(np.int64)
                rounding = (1 << shift) >> 1
                # Below 2**24 every float32 partial sum is exact.
                bounds += [
                    int(np.abs(mac.weight.astype(np.int64)).sum(1).max())
                    << (mac.in_bits - 1 + 31 - 24)
                ]
                bounds += [
                    max(abs(mac.acc_min), abs(mac.acc_max)) * mac.multiplier + int(rounding.max()),
                    int(shift.max()) << 26,
                ]
                matrices.append(mac.weight)
                unit.append(np.stack([mac.bias, shift, rounding]))
                dense.append([mac.multiplier, mac.zero_point, *code_range(mac.out_bits)])
            self.weights.append(np.concatenate(matrices).astype(np.float32))
        scalars: list[int] = []
        for name in ("s_r", "s_z", "p_rn", "s_n", "c_z", "p_zn", "p_zh", "s_h"):
            op: Any = ops[name]
            # The output's zero point joins the rounding constant: both are added before the shift.
            tail = (op.zero_point << op.shift) + half(op.shift)
            if isinstance(op, Sum):
                tail -= op.multiplier_a * op.a_zero_point + op.multiplier_b * op.b_zero_point
                reach = 128 * (op.multiplier_a + op.multiplier_b)
                scalars += [op.multiplier_a, op.multiplier_b, tail]
            elif isinstance(op, Product):
                reach = (128 + abs(op.a_zero_point)) * (128 + abs(op.b_zero_point)) * op.multiplier
                scalars += [op.a_zero_point, op.b_zero_point, op.multiplier, tail]
            else:
                assert isinstance(op, Complement)
                tail += op.one + op.multiplier * op.a_zero_point
                reach = 128 * op.multiplier
                scalars += [-op.multiplier, tail]
            bounds += [abs(tail) + reach, op.shift << 26]
            scalars += [op.shift, *code_range(op.out_bits)]
        activations = [ops[name] for name in ("a_r", "a_z", "a_n")]
        scalars += [1 << (op.a_bits - 1) for op in activations]  # type: ignore[union-attr]
        self.ok = max(bounds) <= _INT32
        if self.ok:
            self.unit = np.array(unit, np.int32)
            self.dense = np.array(dense, np.int32)
            self.scalars = tuple(np.int32(v) for v in scalars)
            self.tables = [_table(op) for op in activations]

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

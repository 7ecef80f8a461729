"""Compiled forward and backward pass of a GRU layer over integer codes, for training.

The forward pass computes the codes of every operator exactly as :mod:`genogate.sim.golden` does,
carried as floats: float32 where every intermediate value is proved to fit its 24 bits, else
float64. The backward pass is straight-through: rounding counts as the identity, saturation passes
no gradient, and an activation unit has the mean slope of the real function over each input code.

Arrays are [units, batch] per time step, so the element-wise operators run along contiguous memory.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from ..genome import GENES
from ..integer import (
    OPERANDS,
    Complement,
    Layer,
    Operator,
    PiecewiseLinear,
    Product,
    Sum,
    Table,
    code_range,
    half,
)
from ..quantize.activations import unit_codes
from ..quantize.error_curves import FUNCTIONS

#: Largest integer magnitudes that float32 and float64 carry without a gap.
EXACT = {np.float32: 1 << 24, np.float64: 1 << 53}
#: The element-wise operators, in the order of their rows in :attr:`LayerPlan.constants`.
ELEMENTWISE = ("s_r", "s_z", "p_rn", "s_n", "c_z", "p_zn", "p_zh", "s_h")
# Positions of the operators' codes in what the forward pass keeps.
(_IR, _IZ, _IN, _HR, _HZ, _HN, _SR, _SZ, _SN, _CZ, _SH, _PRN, _PZN, _PZH, _AR, _AZ, _AN) = range(17)


@njit(inline="always")
def _kept(value, low, high):
    """1 where saturation leaves `value` as it is."""
    return np.uint16((value >= low) & (value <= high))


@njit(inline="always")
def _clip(value, low, high):
    # Comparisons, not min and max, whose rules for NaN keep loops from being vectorised.
    value = low if value < low else value
    return high if value > high else value


@njit(inline="always")
def _row(rows, k):
    return rows[k, 0], rows[k, 1], rows[k, 2], rows[k, 3], rows[k, 4], rows[k, 5]


# One long function: its loops share the rows of a unit, and what they hold in locals.
@njit(cache=True, boundscheck=False, error_model="numpy")
def forward_step(acc_x, acc_h, bias, gain, dense, ops, offsets, tables, state, codes, passed, new):
    """One time step: codes of all operators, and the new state.

    acc_x, acc_h : float [3 H, batch], weight codes times operand codes, rows r, z, n
    bias : float [6, H] folded biases; gain : float [6, H], ``m 2**-(n + k_i)`` of each dense row
    dense : float [6, 3], zero point, lowest and highest code of each dense output
    ops : float [8, 6] of :data:`ELEMENTWISE` (see :class:`LayerPlan`)
    offsets : int [3]; tables : float [3, 256], the activation units, indexed by code + offset
    state : float [H, batch], old state; new : float [H, batch], receives the new one
    codes : int8 [17, H, batch], receives all codes, in the order of the genes
    passed : uint16 [H, batch], receives a bit for every operator that did not saturate
    """
    hidden, batch = state.shape
    kind = state.dtype.type
    half_lsb = kind(0.5)
    # As locals, because a store into `codes` might change an array as far as the compiler knows.
    (ra, rb, rc, rz, rl, rh), (za, zb, zc, zz, zl, zh) = _row(ops, 0), _row(ops, 1)
    (pa, pb, pm, pz, pl, ph), (na, nb, nc, nz, nl, nh) = _row(ops, 2), _row(ops, 3)
    (ca, _, cc, cz, cl, ch), (qa, qb, qm, qz, ql, qh) = _row(ops, 4), _row(ops, 5)
    (ua, ub, um, uz, ul, uh), (ha, hb, hc, hz, hl, hh) = _row(ops, 6), _row(ops, 7)
    z0, l0, h0 = dense[0, 0], dense[0, 1], dense[0, 2]
    z1, l1, h1 = dense[1, 0], dense[1, 1], dense[1, 2]
    z2, l2, h2 = dense[2, 0], dense[2, 1], dense[2, 2]
    z3, l3, h3 = dense[3, 0], dense[3, 1], dense[3, 2]
    z4, l4, h4 = dense[4, 0], dense[4, 1], dense[4, 2]
    z5, l5, h5 = dense[5, 0], dense[5, 1], dense[5, 2]
    o0, o1, o2 = offsets
    for i in range(hidden):
        x0, x1, x2 = acc_x[i], acc_x[hidden + i], acc_x[2 * hidden + i]
        y0, y1, y2 = acc_h[i], acc_h[hidden + i], acc_h[2 * hidden + i]
        b0, b1, b2 = bias[0, i], bias[1, i], bias[2, i]
        b3, b4, b5 = bias[3, i], bias[4, i], bias[5, i]
        g0, g1, g2 = gain[0, i], gain[1, i], gain[2, i]
        g3, g4, g5 = gain[3, i], gain[4, i], gain[5, i]
        c_ir, c_iz, c_in, c_hr = codes[0, i], codes[1, i], codes[2, i], codes[3, i]
        c_hz, c_hn, c_sr, c_sz = codes[4, i], codes[5, i], codes[6, i], codes[7, i]
        c_sn, c_cz, c_sh, c_prn = codes[8, i], codes[9, i], codes[10, i], codes[11, i]
        c_pzn, c_pzh, c_ar, c_az = codes[12, i], codes[13, i], codes[14, i], codes[15, i]
        c_an, fits, old, row = codes[16, i], passed[i], state[i], new[i]
        for b in range(batch):
            v = np.floor((x0[b] + b0) * g0 + half_lsb) + z0
            w = np.floor((y0[b] + b3) * g3 + half_lsb) + z3
            mask = _kept(v, l0, h0) | _kept(w, l3, h3) << np.uint16(3)
            v, w = _clip(v, l0, h0), _clip(w, l3, h3)
            s = np.floor(v * ra + w * rb + rc) + rz
            c_ir[b], c_hr[b] = np.int8(v), np.int8(w)
            c_sr[b] = np.int8(_clip(s, rl, rh))
            fits[b] = mask | _kept(s, rl, rh) << np.uint16(6)
        for b in range(batch):
            v = np.floor((x1[b] + b1) * g1 + half_lsb) + z1
            w = np.floor((y1[b] + b4) * g4 + half_lsb) + z4
            mask = _kept(v, l1, h1) << np.uint16(1) | _kept(w, l4, h4) << np.uint16(4)
            v, w = _clip(v, l1, h1), _clip(w, l4, h4)
            s = np.floor(v * za + w * zb + zc) + zz
            c_iz[b], c_hz[b] = np.int8(v), np.int8(w)
            c_sz[b] = np.int8(_clip(s, zl, zh))
            fits[b] |= mask | _kept(s, zl, zh) << np.uint16(7)
        for b in range(batch):
            v = np.floor((x2[b] + b2) * g2 + half_lsb) + z2
            w = np.floor((y2[b] + b5) * g5 + half_lsb) + z5
            c_in[b], c_hn[b] = np.int8(_clip(v, l2, h2)), np.int8(_clip(w, l5, h5))
            fits[b] |= _kept(v, l2, h2) << np.uint16(2) | _kept(w, l5, h5) << np.uint16(5)
        for b in range(batch):
            c_ar[b] = np.int8(tables[0, c_sr[b] + o0])
            c_az[b] = np.int8(tables[1, c_sz[b] + o1])
        for b in range(batch):
            v = np.floor((kind(c_ar[b]) - pa) * (kind(c_hn[b]) - pb) * pm + half_lsb) + pz
            p = _clip(v, pl, ph)
            s = np.floor(kind(c_in[b]) * na + p * nb + nc) + nz
            c_prn[b], c_sn[b] = np.int8(p), np.int8(_clip(s, nl, nh))
            fits[b] |= _kept(v, pl, ph) << np.uint16(11) | _kept(s, nl, nh) << np.uint16(8)
        for b in range(batch):
            c_an[b] = np.int8(tables[2, c_sn[b] + o2])
        for b in range(batch):
            z = kind(c_az[b])
            c = np.floor(z * ca + cc) + cz
            mask = _kept(c, cl, ch) << np.uint16(9)
            c = _clip(c, cl, ch)
            q = np.floor((c - qa) * (kind(c_an[b]) - qb) * qm + half_lsb) + qz
            u = np.floor((z - ua) * (old[b] - ub) * um + half_lsb) + uz
            mask |= _kept(q, ql, qh) << np.uint16(12) | _kept(u, ul, uh) << np.uint16(13)
            q, u = _clip(q, ql, qh), _clip(u, ul, uh)
            s = np.floor(q * ha + u * hb + hc) + hz
            fits[b] |= mask | _kept(s, hl, hh) << np.uint16(10)
            s = _clip(s, hl, hh)
            row[b] = s
            c_cz[b], c_pzn[b], c_pzh[b], c_sh[b] = np.int8(c), np.int8(q), np.int8(u), np.int8(s)


@njit(cache=True, boundscheck=False, error_model="numpy")
def limited(own, later, limit, total):
    """Gradients of a state: float32 [H, batch] `total` receives `own` + `later`, of each sequence
    scaled down to a norm of at most `limit` [batch]."""
    hidden, batch = total.shape
    squares = np.zeros(batch, np.float32)
    for i in range(hidden):
        for b in range(batch):
            value = own[i, b] + later[i, b]
            total[i, b] = value
            squares[b] += value * value
    for b in range(batch):
        norm = np.sqrt(squares[b])
        squares[b] = limit[b] / norm if norm > limit[b] else np.float32(1)
    for i in range(hidden):
        for b in range(batch):
            total[i, b] *= squares[b]


@njit(inline="always")
def _through(value, mask, bit):
    """`value` where bit `bit` of `mask` is set, else 0."""
    return value * np.float32((mask >> np.uint16(bit)) & np.uint16(1))


# One long function: its loops share the rows of a unit, and what they hold in locals.
@njit(cache=True, boundscheck=False, error_model="numpy")
def backward_step(
    grad, state, codes, passed, gain, ops, offsets, slopes, to_x, to_h, to_state, to_units, totals
):
    """Gradients of one time step, all with respect to codes.

    grad : float32 [H, batch], of the new state; state : float32 [H, batch], the old state
    codes, passed : what :func:`forward_step` kept; gain, ops, offsets : its constants, float32
    slopes : float32 [3, 256], output codes per input code of the activation units
    to_x, to_h : float32 [3 H, batch], receive the gradients of ``acc_x`` and ``acc_h``
    to_state : float32 [H, batch], receives that of the old state, less what comes through `acc_h`
    to_units : float32 [3, H, batch], receives those of the outputs of the activation units
    totals : None, or float32 [8, 3, batch], to which those of the first three columns of `ops` are
        added; zero points of products, which are fixed, are left out
    """
    hidden, batch = grad.shape
    slope = np.empty((3, batch), np.float32)
    for i in range(hidden):
        of_r, of_z, of_n = to_units[0, i], to_units[1, i], to_units[2, i]
        for b in range(batch):
            slope[0, b] = slopes[0, codes[_SR, i, b] + offsets[0]]
            slope[1, b] = slopes[1, codes[_SZ, i, b] + offsets[1]]
            slope[2, b] = slopes[2, codes[_SN, i, b] + offsets[2]]
        for b in range(batch):
            mask = passed[i, b]
            g = _through(grad[i, b], mask, 10)
            g_q = _through(g * ops[7, 0], mask, 12) * ops[5, 2]
            g_u = _through(g * ops[7, 1], mask, 13) * ops[6, 2]
            z, c = np.float32(codes[_AZ, i, b]), np.float32(codes[_CZ, i, b])
            of_n[b] = g_q * (c - ops[5, 0])
            g_c = _through(g_q * (np.float32(codes[_AN, i, b]) - ops[5, 1]), mask, 9)
            of_z[b] = g_c * ops[4, 0] + g_u * (state[i, b] - ops[6, 1])
            to_state[i, b] = g_u * (z - ops[6, 0])
        if totals is not None:
            for b in range(batch):
                mask = passed[i, b]
                g = _through(grad[i, b], mask, 10)
                totals[7, 0, b] += g * np.float32(codes[_PZN, i, b])
                totals[7, 1, b] += g * np.float32(codes[_PZH, i, b])
                totals[7, 2, b] += g
                z, c = np.float32(codes[_AZ, i, b]), np.float32(codes[_CZ, i, b])
                left, right = c - ops[5, 0], np.float32(codes[_AN, i, b]) - ops[5, 1]
                q = _through(g * ops[7, 0], mask, 12)
                totals[5, 2, b] += q * left * right
                g_c = _through(q * right * ops[5, 2], mask, 9)
                totals[4, 0, b] += g_c * z
                totals[4, 2, b] += g_c
                left, right = z - ops[6, 0], state[i, b] - ops[6, 1]
                u = _through(g * ops[7, 1], mask, 13)
                totals[6, 2, b] += u * left * right
        for b in range(batch):
            mask = passed[i, b]
            g = _through(of_n[b] * slope[2, b], mask, 8)
            to_x[i + 2 * hidden, b] = _through(g * ops[3, 0], mask, 2) * gain[2, i]
            g_p = _through(g * ops[3, 1], mask, 11) * ops[2, 2]
            of_r[b] = g_p * (np.float32(codes[_HN, i, b]) - ops[2, 1])
            g_hn = g_p * (np.float32(codes[_AR, i, b]) - ops[2, 0])
            to_h[i + 2 * hidden, b] = _through(g_hn, mask, 5) * gain[5, i]
        if totals is not None:
            for b in range(batch):
                mask = passed[i, b]
                g = _through(of_n[b] * slope[2, b], mask, 8)
                totals[3, 0, b] += g * np.float32(codes[_IN, i, b])
                totals[3, 1, b] += g * np.float32(codes[_PRN, i, b])
                totals[3, 2, b] += g
                left = np.float32(codes[_AR, i, b]) - ops[2, 0]
                right = np.float32(codes[_HN, i, b]) - ops[2, 1]
                p = _through(g * ops[3, 1], mask, 11)
                totals[2, 2, b] += p * left * right
            for b in range(batch):
                mask = passed[i, b]
                g = _through(of_r[b] * slope[0, b], mask, 6)
                totals[0, 0, b] += g * np.float32(codes[_IR, i, b])
                totals[0, 1, b] += g * np.float32(codes[_HR, i, b])
                totals[0, 2, b] += g
                g = _through(of_z[b] * slope[1, b], mask, 7)
                totals[1, 0, b] += g * np.float32(codes[_IZ, i, b])
                totals[1, 1, b] += g * np.float32(codes[_HZ, i, b])
                totals[1, 2, b] += g
        for b in range(batch):
            mask = passed[i, b]
            g = _through(of_r[b] * slope[0, b], mask, 6)
            to_x[i, b] = _through(g * ops[0, 0], mask, 0) * gain[0, i]
            to_h[i, b] = _through(g * ops[0, 1], mask, 3) * gain[3, i]
            g = _through(of_z[b] * slope[1, b], mask, 7)
            to_x[i + hidden, b] = _through(g * ops[1, 0], mask, 1) * gain[1, i]
            to_h[i + hidden, b] = _through(g * ops[1, 1], mask, 4) * gain[4, i]


@njit(cache=True, boundscheck=False, error_model="numpy")
def add_by_code(codes, to_units, offsets, totals):
    """Add to `totals` float64 [3, 256] the gradients of the units' outputs, by input code."""
    hidden, batch = codes.shape[1:]
    for i in range(hidden):
        for b in range(batch):
            totals[0, codes[_SR, i, b] + offsets[0]] += to_units[0, i, b]
            totals[1, codes[_SZ, i, b] + offsets[1]] += to_units[1, i, b]
            totals[2, codes[_SN, i, b] + offsets[2]] += to_units[2, i, b]


def table_codes(op: Table | PiecewiseLinear) -> np.ndarray:
    """Output codes int64 of an activation unit, in the order of its input codes."""
    return op.table.astype(np.int64) if isinstance(op, Table) else unit_codes(op)


def _mean_slopes(name: str, op: Any, scales: Mapping[str, Any]) -> np.ndarray:
    """Output codes per input code: the real function's mean slope over each input code's cell, 0
    where the output saturates."""
    source = scales[f"s_{name[-1]}"]
    low, high = code_range(op.a_bits)
    edges = (np.arange(low, high + 2) - 0.5 - source["zero_point"]) * source["scale"]
    real = FUNCTIONS[f"s_{name[-1]}"](edges) / scales[name]["scale"] + scales[name]["zero_point"]
    lowest, highest = code_range(op.out_bits)
    return np.diff(np.clip(real, lowest - 0.5, highest + 0.5))


def _elementwise(ops: Mapping[str, Operator]) -> tuple[list[list[float]], int]:
    """Rows of :data:`ELEMENTWISE` as :class:`LayerPlan` has them, and the greatest magnitude that
    any of these operators may meet before its shift."""
    # Where nothing is dropped, half is 0; the floor of an integer and a half is that integer.
    rows, reach = [], []
    for name in ELEMENTWISE:
        op: Any = ops[name]
        tail = [op.zero_point, *code_range(op.out_bits)]
        if isinstance(op, Sum):
            constant = half(op.shift) - op.multiplier_a * op.a_zero_point
            constant -= op.multiplier_b * op.b_zero_point
            scale = 2.0**-op.shift
            rows.append([op.multiplier_a * scale, op.multiplier_b * scale, constant * scale])
            reach.append(128 * (op.multiplier_a + op.multiplier_b) + abs(constant))
        elif isinstance(op, Product):
            rows.append([op.a_zero_point, op.b_zero_point, op.multiplier * 2.0**-op.shift])
            widest = (128 + abs(op.a_zero_point)) * (128 + abs(op.b_zero_point))
            reach.append(widest * op.multiplier + (1 << op.shift))
        else:
            assert isinstance(op, Complement)
            constant = op.one + op.multiplier * op.a_zero_point + half(op.shift)
            scale = 2.0**-op.shift
            rows.append([-op.multiplier * scale, 0.0, constant * scale])
            reach.append(128 * op.multiplier + abs(constant))
        rows[-1] += tail
    return rows, max(reach)


class LayerPlan:
    """The constants of one layer for the kernels, and the proof of the type that they need.

    Rows of ``constants`` [8, 6] are, for sums: factor of a, factor of b, constant before the floor,
    output zero point, lowest and highest code; for products: both operands' zero points, factor,
    and the same last three; for the complement: factor, 0, constant, and the same.
    """

    def __init__(
        self,
        layer: Layer,
        scales: Mapping[str, Mapping[str, float]],
        moved: Mapping[str, Mapping[str, int]] | None = None,
        others: Mapping[str, Operator] | None = None,
    ) -> None:
        """`scales` by operator: ``scale`` and ``zero_point`` (``IntModel.info["scales"]``).

        moved : ``multiplier``, ``shift`` and ``zero_point`` of the dense operators where they are
            not those of `layer`; others : all other operators, likewise
        """
        self.layer = layer
        dense = [layer.dense(name) for name in GENES[:6]]
        moved = moved or {
            name: {"multiplier": op.multiplier, "shift": op.shift, "zero_point": op.zero_point}
            for name, op in zip(GENES, dense, strict=False)
        }
        others = others or layer.ops
        shift = np.stack(
            [
                moved[name]["shift"] + op.channel_shift.astype(np.int64)
                for name, op in zip(GENES, dense, strict=False)
            ]
        )
        self.multiplier = np.array([moved[name]["multiplier"] for name in GENES[:6]])
        self.rounding = ((1 << shift) >> 1).max(1)
        #: M of the dense operators, [6].
        self.factors = np.array(
            [moved[name]["multiplier"] * 2.0 ** -moved[name]["shift"] for name in GENES[:6]]
        )
        self._gain = self.multiplier[:, None] * 2.0**-shift
        self._limits = np.array(
            [
                [moved[name]["zero_point"], *code_range(op.out_bits)]
                for name, op in zip(GENES, dense, strict=False)
            ],
            np.float64,
        )
        rows, reach = _elementwise(others)
        self._constants = np.array(rows, np.float64)
        self._reach = reach
        #: Codes of the activation units, and their mean slopes, by input code + offset.
        self.tables, self.slopes = (np.zeros((3, 256), np.float32) for _ in range(2))
        self.offsets = np.zeros(3, np.int64)
        for k, name in enumerate(GENES[14:]):
            op: Any = others[name]
            self.offsets[k] = 1 << (op.a_bits - 1)
            self.tables[k, : 1 << op.a_bits] = table_codes(op)
            self.slopes[k, : 1 << op.a_bits] = _mean_slopes(name, op, scales)
        state: Any = others["s_h"]
        self.state_zero_point = int(state.zero_point)
        self._known: dict[Any, tuple[np.ndarray, ...]] = {}

    def kind(self, sums: np.ndarray) -> Any:
        """The float type in which no intermediate value rounds, given the greatest magnitude of
        each dense operator's accumulator, [6]. Products of two fit where their scaled sums do."""
        most = max(int((sums * self.multiplier + 2 * self.rounding).max()), self._reach)
        # Saturated zero points are added after the floor and stay below 2**17 with the codes.
        for kind, limit in EXACT.items():
            if most < limit // 2:
                return kind
        raise ValueError(f"a sum of up to {most} does not fit float64")

    def constants(self, kind: Any) -> tuple[np.ndarray, ...]:
        """gain, dense, ops in the element type `kind`."""
        if kind not in self._known:
            self._known[kind] = tuple(
                np.ascontiguousarray(a, kind) for a in (self._gain, self._limits, self._constants)
            )
        return self._known[kind]


assert set(ELEMENTWISE) | set(GENES[:6]) | set(GENES[14:]) == set(OPERANDS)

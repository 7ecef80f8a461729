"""Softmax and Normalise against golden: lengths, stalls, back-to-back vectors, resets, cycles."""

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator
from genogate.hdl.composites.normalise import Normalise
from genogate.hdl.composites.softmax import Softmax
from genogate.model.tables.composites import layernorm_params, softmax_params
from genogate.sim import golden_composites as golden
from genogate.sim.rtl.streams import run_streams

PAUSES = (0.0, 0.4)


def transfers(vectors):
    """Payloads of the input stream, `last` with each vector's last code."""
    return [
        {"code": int(code), "last": int(j == len(vector) - 1)}
        for vector in vectors
        for j, code in enumerate(vector)
    ]


def run(dut, stream, count, **knobs):
    out = run_streams(dut, {"i": stream}, {"o": count}, **knobs)["o"]
    return [(o.code, o.last) for o in out]


def expected(law, op, vectors):
    return [(t["code"], t["last"]) for t in transfers([law(op, vector) for vector in vectors])]


def softmax_vectors(rng, lengths, bits, scale):
    low, high = -1 << (bits - 1), (1 << (bits - 1)) - 1
    for n in lengths:
        if rng.random() < 0.5:
            yield rng.integers(low, high + 1, n)
        else:
            width = 2.0**scale * rng.choice([0.5, 2, 8])
            yield np.clip(np.round(rng.normal(size=n) * width), low, high).astype(int)


@pytest.mark.parametrize("pause", PAUSES)
@pytest.mark.parametrize(
    ("most", "scale", "entries", "bits"),
    [(64, 4, 8, 8), (1, 4, 8, 8), (2, 0, 16, 8), (37, -3, 5, 6), (16, 9, 4, 4), (5, -8, 1, 7)],
)
def test_softmax(most, scale, entries, bits, pause):
    op = softmax_params(scale, entries, most, in_bits=bits)
    rng = np.random.default_rng([most, bits])
    lengths = [1, most, most, (most + 1) // 2, 1, 1, most, 1, *rng.integers(1, most + 1, 5)]
    vectors = list(softmax_vectors(rng, lengths, bits, scale))
    want = expected(golden.softmax, op, vectors)
    assert run(Softmax(op), transfers(vectors), len(want), pause=pause, seed=most) == want


def test_softmax_ends_a_vector_at_its_greatest_length():
    op = softmax_params(4, 8, 6)
    codes = np.random.default_rng(1).integers(-128, 128, 15)
    want = expected(golden.softmax, op, [codes[:6], codes[6:12], codes[12:]])
    assert run(Softmax(op), transfers([codes]), 15) == want


def test_softmax_with_its_own_output_codes():
    op = softmax_params(3, 8, 9, out_bits=6, out_scale=7, zero_point=-3)
    vectors = list(softmax_vectors(np.random.default_rng(2), [9] * 12, 8, 3))
    want = expected(golden.softmax, op, vectors)
    assert {code for code, _ in want} >= {-3, 31}
    assert run(Softmax(op), transfers(vectors), len(want), pause=0.2) == want


def normalise_vectors(rng, n, count, bits=8):
    low, high = -1 << (bits - 1), (1 << (bits - 1)) - 1
    width = rng.choice([0.2, 0.5, 1, 4, 30, 100], (count, 1))
    q = rng.normal(size=(count, n)) * width + rng.uniform(low / 2, high / 2, (count, 1))
    q = np.clip(np.round(q), low, high).astype(int)
    # Equal codes, half of them at each end, and one alone at an end.
    q[0], q[1, : n // 2], q[1, n // 2 :] = low, low, high
    q[2], q[2, 0] = low, high
    return q


def affine(n, seed=0, **knobs):
    rng = np.random.default_rng([n, seed])
    return {"gamma": rng.normal(1, 0.3, n), "beta": rng.normal(0, 0.5, n), **knobs}


NORMS = {
    "plain": (33, {}),
    "of two": (2, {}),
    "power of two": (32, {"eps": 1e-2}),
    "root mean square": (20, {"rms": True, "in_zero_point": -77}),
    "gamma and beta": (24, affine(24)),
    "great gamma": (7, {"gamma": np.arange(-3, 4) * 900.0, "gamma_bits": 16, "eps": 0.0}),
    "beta only": (16, {"beta": np.linspace(-2, 2, 16), "zero_point": -9}),
    "narrow": (12, affine(12, in_bits=5, out_bits=4, out_scale=1, zero_point=2, scale=-2)),
    "long": (150, {}),
}


@pytest.mark.parametrize("pause", PAUSES)
@pytest.mark.parametrize("name", NORMS)
def test_normalise(name, pause):
    n, knobs = NORMS[name]
    op = layernorm_params(n, **knobs)
    rng = np.random.default_rng(n)
    vectors = normalise_vectors(rng, n, 3 if n > 100 else 6, op.in_bits)
    stream = transfers(vectors)
    for transfer in stream:
        transfer["last"] = int(rng.integers(2))  # not looked at
    want = expected(golden.normalise, op, vectors)
    assert run(Normalise(op), stream, len(want), pause=pause, seed=n) == want


def clocked(dut, stream, cycles, reset=None, at=()):
    """(cycle, code, last) of every transfer out, and the cycles of those in; nothing ever waits."""
    came, went = [], []

    async def bench(ctx):
        ctx.set(dut.o.ready, 1)
        left = iter(stream)
        payload = next(left, None)
        for cycle in range(cycles):
            if reset is not None:
                ctx.set(reset, int(cycle in at))
                if cycle in at:
                    left = iter(stream)
                    payload = next(left, None)
                    came.clear()
            ctx.set(dut.i.valid, int(payload is not None and cycle not in at))
            if payload is not None:
                ctx.set(dut.i.payload, payload)
            _, _, ready, valid, out = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.payload
            )
            if cycle in at:
                continue
            if valid:
                came.append((cycle, out.code, out.last))
            if ready and payload is not None:
                went.append(cycle)
                payload = next(left, None)

    sim = Simulator(dut if reset is None else ResetInserter(reset)(dut))
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return came, went


@pytest.mark.parametrize("n", [1, 2, 5, 32])
def test_softmax_cycles_are_as_stated(n):
    op = softmax_params(4, 8, 32)
    vectors = np.random.default_rng(n).integers(-128, 128, (5, n))
    came, went = clocked(Softmax(op), transfers(vectors), 5 * (3 * n + 20))
    assert len(came) == 5 * n
    assert came[0][0] - went[n - 1] == Softmax.latency(n)
    starts = [cycle for cycle, _, _ in came[::n]]
    assert np.diff(starts).tolist() == [Softmax.cycles(n)] * 4
    assert came[n - 1][0] - came[0][0] == n - 1


@pytest.mark.parametrize(
    ("n", "knobs"),
    [(2, {}), (16, {}), (64, affine(64)), (64, {"rms": True}), (40, {"rms": True, **affine(40)})],
)
def test_normalise_cycles_are_as_stated(n, knobs):
    dut = Normalise(layernorm_params(n, **knobs))
    vectors = np.random.default_rng(n).integers(-128, 128, (4, n))
    came, went = clocked(dut, transfers(vectors), 4 * (2 * n + 20))
    assert len(came) == 4 * n
    assert came[0][0] - went[n - 1] == dut.latency
    assert np.diff([cycle for cycle, _, _ in came[::n]]).tolist() == [dut.cycles] * 3
    assert came[n - 1][0] - came[0][0] == n - 1


@pytest.mark.parametrize("kind", ["softmax", "normalise"])
def test_a_reset_in_mid_vector_forgets_it(kind):
    n, rng = 8, np.random.default_rng(9)
    vectors = rng.integers(-128, 128, (3, n))
    if kind == "softmax":
        law, op = golden.softmax, softmax_params(4, 8, n)
        make = Softmax
    else:
        law, op = golden.normalise, layernorm_params(n, **affine(n))
        make = Normalise
    want = expected(law, op, vectors)
    # While storing, in the first pass, in between, and while giving.
    for at in range(2, 38, 5):
        reset = Signal()
        came, _ = clocked(make(op), transfers(vectors), at + 120, reset, {at})
        assert [(code, last) for _, code, last in came] == want, f"reset in cycle {at}"

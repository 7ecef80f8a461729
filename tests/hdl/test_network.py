# amaranth: UnusedElaboratable=no
"""Whole layers and networks against golden: every output, stalls, resets, sequences in a row."""

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from genogate.hdl.gru.design import Design
from genogate.hdl.gru.schedule import Schedule
from genogate.model.errors import InputError
from genogate.model.genome import GENES, Genome
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model
from genogate.sim.rtl.streams import run_streams
from transfers import expected, features, received


def draw(seed, *, layers=1, bits=None, sizes=(8, 8, 6), **knobs):
    """A random model and three random sequences of 1 to 3 steps."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(2, 9, (layers, len(GENES))) if bits is None else [[bits] * 17] * layers
    genome = Genome(tuple(tuple(int(v) for v in row) for row in rows))
    inputs, hidden, classes = (int(rng.integers(1, top + 1)) for top in sizes)
    knobs = {"channel": bool(seed & 1), "terms": [1, 2, 3, None][seed % 4], **knobs}
    model = random_model(rng, genome, inputs, hidden, classes, **knobs)
    sequences = [rng.integers(-128, 128, (int(t), inputs)) for t in rng.integers(1, 4, 3)]
    return rng, model, sequences


def check(model, sequences, lanes_x, lanes_h, *, pause, seed, pipeline=0):
    wanted = expected(model, sequences)
    got = run_streams(
        Design.of(model, Lanes(lanes_x, lanes_h), pipeline=pipeline).component(),
        {"i": features(sequences)},
        {name: len(values) for name, values in wanted.items()},
        pause=pause,
        seed=seed,
        cycles=30000,
    )
    assert received(got) == wanted, f"lanes {lanes_x} {lanes_h}, seed {seed}"


@pytest.mark.parametrize("seed", range(16))
def test_random_networks_equal_golden(seed):
    rng, model, sequences = draw(seed, layers=1 + seed % 2)
    lanes = rng.integers(1, 9, 2).tolist()
    check(model, sequences, *lanes, pause=[0, 0.3, 0.6][seed % 3], seed=seed)


@pytest.mark.parametrize("pipeline", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_registers_in_the_multiply_accumulate_change_no_bit(seed, pipeline):
    rng, model, sequences = draw(50 + seed, layers=1 + (seed == 4), sizes=(6, 7, 4))
    lanes = rng.integers(1, 4, 2).tolist()
    pause = [0, 0.3][seed % 2]
    check(model, sequences, *lanes, pause=pause, seed=seed, pipeline=pipeline)


@pytest.mark.parametrize("pipeline", [0, 1, 2])
def test_units_that_wait_in_all_registers_are_written_before_they_are_read(pipeline):
    """Outputs that stall for long in small layers, where a step begins while three units wait."""
    for hidden, lanes in ((3, 1), (4, 1), (5, 2)):
        rng = np.random.default_rng([hidden, lanes, 9])
        model = random_model(rng, Genome.uniform(8), 6, hidden, 2)
        sequences = [rng.integers(-128, 128, (5, 6))]
        check(model, sequences, 4, lanes, pause=0.8, seed=hidden, pipeline=pipeline)


@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("activation", ["pwl", "table"])
def test_uniform_genomes_equal_golden(bits, activation):
    _, model, sequences = draw(100 + bits, bits=bits, activation=activation, sizes=(6, 12, 4))
    check(model, sequences, 1, 1, pause=0.2, seed=bits)


SMALLEST = [(1, 1, 1), (1, 2, 2), (9, 1, 2), (1, 3, 3), (2, 4, 2)]


@pytest.mark.parametrize(
    ("sizes", "lanes"),
    [
        *((sizes, lanes) for sizes in SMALLEST for lanes in [(1, 1), (3, 2)]),
        # Most of their time goes into lanes that have nothing to do.
        ((1, 1, 1), (64, 64)),
        ((9, 1, 2), (64, 64)),
    ],
)
def test_smallest_sizes_equal_golden(sizes, lanes):
    rng = np.random.default_rng((*sizes, *lanes))
    genome = Genome((tuple(rng.integers(2, 9, len(GENES)).tolist()),))
    model = random_model(rng, genome, *sizes, channel=bool(sizes[1] & 1), terms=2)
    sequences = [rng.integers(-128, 128, (int(t), sizes[0])) for t in rng.integers(1, 5, 4)]
    check(model, sequences, *lanes, pause=0.3 * (sizes[0] & 1), seed=1)


@pytest.mark.parametrize("shape", [(8, 16, 1, 1), (3, 17, 1, 2), (24, 16, 1, 1)])
def test_serial_operators_equal_golden(shape):
    """Shapes in which weights come in digits and products are serial."""
    inputs, hidden, lanes_x, lanes_h = shape
    rng = np.random.default_rng(shape)
    model = random_model(rng, Genome.uniform(8), inputs, hidden, 2, terms=2)
    plan = Schedule.of(model.layers[0], Lanes(lanes_x, lanes_h))
    assert any(plan.digits.values())
    sequences = [rng.integers(-128, 128, (steps, inputs)) for steps in (2, 1)]
    check(model, sequences, lanes_x, lanes_h, pause=0.1, seed=3)


@pytest.mark.parametrize("seed", range(4))
def test_reset_in_mid_sequence_starts_afresh(seed):
    """A reset at any cycle, then whole sequences: nothing of what was before may be left."""
    rng, model, sequences = draw(300 + seed, layers=1 + seed % 2, sizes=(4, 5, 3))
    wanted = expected(model, sequences)
    top, dut = Module(), Design.of(model, Lanes(2, 1)).component()
    top.domains.sync = domain = ClockDomain()
    top.submodules.dut = dut
    got = {name: [] for name in wanted}
    undisturbed = []  # true once the last reset is over
    resets = [int(v) for v in rng.integers(5, 160, 3)]

    async def drive(ctx):
        for outs in (dut.o_h, dut.o_logits, dut.o_class):
            ctx.set(outs.ready, 1)
        for limit in [*resets, None]:
            count = 0
            if limit is None:
                undisturbed.append(True)
            for feature in features(sequences):
                ctx.set(dut.i.payload, feature)
                ctx.set(dut.i.valid, 1)
                while True:
                    _, _, ready = await ctx.tick().sample(dut.i.ready)
                    count += 1
                    if ready or count == limit:
                        break
                ctx.set(dut.i.valid, 0)
                if count == limit:
                    break
            if limit is not None:
                ctx.set(domain.rst, 1)
                await ctx.tick()
                ctx.set(domain.rst, 0)
                for values in got.values():
                    values.clear()

    async def collect(ctx):
        names = list(got)
        ports = [getattr(dut, name) for name in names]
        while not undisturbed or any(len(got[k]) < len(v) for k, v in wanted.items()):
            _, rst, *sampled = await ctx.tick().sample(
                *(p.valid for p in ports), *(p.payload for p in ports)
            )
            for k, name in enumerate(names):
                if sampled[k] and not rst:
                    got[name].append(sampled[len(names) + k])

    async def watchdog(ctx):
        await ctx.delay(20000e-6)
        raise TimeoutError(f"deadlock: {len(got['o_h'])} of {len(wanted['o_h'])} states")

    sim = Simulator(top)
    sim.add_clock(1e-6)
    sim.add_testbench(drive)
    sim.add_testbench(collect)
    sim.add_testbench(watchdog, background=True)
    sim.run()
    assert received(got) == wanted


@pytest.mark.parametrize(
    ("share", "lanes", "layers", "inputs"),
    [
        ("none", (1, 1), 1, 4),
        ("none", (3, 2), 2, 7),
        ("none", (1, 1), 1, 5),
        ("all", (1, 1), 1, 3),
    ],
)
def test_a_last_in_the_middle_of_a_vector_ends_the_sequence(share, lanes, layers, inputs):
    """A sender that loses or doubles a feature is in step again with the next sequence."""
    rng = np.random.default_rng([inputs, layers])
    bits = 2 if share == "all" else 6
    model = random_model(rng, Genome.uniform(bits, layers), inputs, 2, 2)
    steps = (2, 2, 1, 1, 2)
    sequences = [rng.integers(-128, 128, (t, inputs)) for t in steps]
    sent = [features([sequence]) for sequence in sequences]
    del sent[0][inputs + 1]  # a feature of the last step is lost
    sent[2].insert(1, sent[2][0])  # one is doubled, so that the last one is that of a second step
    wanted = {name: [] for name in ("o_h", "o_logits", "o_class")}
    right = {name: [] for name in wanted}  # transfers that do not depend on the broken vectors
    for number, sequence in enumerate(sequences):
        broken = number in (0, 2)
        # Codes of a broken vector are not defined, how many transfers it gives is.
        given = np.zeros((2, inputs), int) if number == 2 else sequence
        for name, values in expected(model, [given]).items():
            whole = 2 if number == 0 and name == "o_h" else 0  # the first step came whole
            right[name] += [not broken or k < whole for k in range(len(values))]
            wanted[name] += values
    got = received(
        run_streams(
            Design.of(model, Lanes(*lanes), share).component(),
            {"i": [transfer for transfers in sent for transfer in transfers]},
            {name: len(values) for name, values in wanted.items()},
            pause=0.2,
            seed=1,
            cycles=60000,
        )
    )
    for name, values in wanted.items():
        pairs = [(a, b) for a, b, ok in zip(got[name], values, right[name], strict=True) if ok]
        assert [a for a, _ in pairs] == [b for _, b in pairs], name
        assert [last for _, last in got[name]] == [last for _, last in values]


def measure(design, steps):
    """Cycles between the last units of consecutive steps of the first layer, in the steady
    state."""
    layer = design.model.layers[0]
    dut = design.layer_components()[0]
    ends = []

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.o.ready, 1)
        cycle = count = 0
        async for _, _, valid in ctx.tick().sample(dut.o.valid):
            cycle += 1
            if valid:
                count += 1
                if count % layer.hidden_size == 0:
                    ends.append(cycle)
            if len(ends) == steps:
                break

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return np.diff(ends[2:])


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1, 1),
        (1, 2, 1, 1),
        (3, 3, 1, 1),
        (2, 5, 1, 1),
        (4, 6, 2, 3),
        (8, 16, 1, 1),
        (8, 8, 8, 8),
        (7, 9, 1, 2),
        (20, 4, 1, 1),
        (20, 2, 8, 1),
        (3, 32, 1, 8),
        (3, 4, 4, 4),
        (8, 16, 2, 2),
        (2, 17, 1, 1),
    ],
)
def test_cycles_per_step_are_as_stated(shape):
    inputs, hidden, lanes_x, lanes_h = shape
    model = random_model(np.random.default_rng(shape), Genome.uniform(8), inputs, hidden, 2)
    design = Design.of(model, Lanes(lanes_x, lanes_h))
    stated = design.cycles_per_step
    assert set(measure(design, 5)) == {stated}
    if lanes_x == lanes_h == 1 and hidden >= 16:
        assert hidden * max(inputs, hidden) / stated >= 0.95


@pytest.mark.parametrize("pipeline", [1, 2])
@pytest.mark.parametrize("shape", [(3, 4, 1, 1), (8, 8, 8, 8), (2, 12, 1, 2), (3, 4, 4, 2)])
def test_cycles_per_step_with_a_pipeline_are_as_stated(shape, pipeline):
    inputs, hidden, lanes_x, lanes_h = shape
    model = random_model(np.random.default_rng(shape), Genome.uniform(8), inputs, hidden, 2)
    design = Design.of(model, Lanes(lanes_x, lanes_h), pipeline=pipeline)
    assert set(measure(design, 5)) == {design.cycles_per_step}


def sequence_cycles(design, all_steps, count=4):
    """For each of `all_steps`: cycles between the classes of sequences of so many steps back to
    back, in the steady state."""
    dut, inputs = design.component(), design.model.layers[0].input_size
    length, ends, found = 0, [], []

    async def bench(ctx):
        for port in (dut.o_h, dut.o_logits, dut.o_class):
            ctx.set(port.ready, 1)
        ctx.set(dut.i.valid, 1)
        sent = cycle = 0
        ctx.set(dut.i.payload, {"code": 0, "last": int(length == 1)})
        async for _, _, ready, valid in ctx.tick().sample(dut.i.ready, dut.o_class.valid):
            cycle += 1
            if ready:
                sent += 1
                ctx.set(dut.i.payload, {"code": 0, "last": int(sent % length == length - 1)})
            if valid:
                ends.append(cycle)
            if len(ends) == count:
                break

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    for steps in all_steps:
        length = steps * inputs
        if found:
            ends.clear()
            sim.reset()
        sim.run()
        found.append(set(np.diff(ends[1:]).tolist()))
    return found


@pytest.mark.parametrize(
    "shape", [(3, 4, 4, 1, 1, 1), (3, 5, 7, 1, 4, 8), (1, 1, 1, 1, 1, 1), (2, 3, 6, 2, 1, 1)]
)
def test_cycles_per_sequence_are_as_stated_also_of_few_steps(shape):
    inputs, hidden, classes, layers, lanes_x, lanes_h = shape
    model = random_model(
        np.random.default_rng(shape), Genome.uniform(8, layers), inputs, hidden, classes
    )
    for pipeline in (0, 2):
        design = Design.of(model, Lanes(lanes_x, lanes_h), pipeline=pipeline)
        stated = [{design.cycles_per_sequence(steps)} for steps in (1, 2, 4)]
        assert sequence_cycles(design, (1, 2, 4)) == stated


def test_cycles_per_sequence_where_everything_is_shared():
    model = random_model(np.random.default_rng(4), Genome.uniform(3), 2, 2, 2)
    design = Design.of(model, share="all")
    stated = [{design.cycles_per_sequence(steps)} for steps in (1, 3)]
    assert sequence_cycles(design, (1, 3)) == stated


def test_slowest_layer_decides():
    model = random_model(np.random.default_rng(5), Genome.uniform(8, 2), 20, 4, 2)
    each = [Schedule.of(layer, Lanes()).cycles_per_step for layer in model.layers]
    assert Design.of(model).cycles_per_step == max(each) == each[0] > each[1]


@pytest.mark.parametrize("lanes", [0, -1, 65, True, 1.0])
def test_impossible_lanes_are_refused(lanes):
    with pytest.raises(InputError, match=r"lanes_h: .* is not"):
        Lanes(1, lanes)

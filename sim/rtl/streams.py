"""Drive components with streams in Amaranth's simulator, with random pauses on every side."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from amaranth.hdl import ClockDomain, Module, ShapeCastable, Signal, Value
from amaranth.sim import Simulator


def run_streams(
    dut: Any,
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, int],
    *,
    pause: float = 0.0,
    seed: int = 0,
    cycles: int | None = None,
    extra: Callable[..., Any] | None = None,
) -> dict[str, list[Any]]:
    """Push transfers into the streams of `dut`, return what comes out of others.

    Each side of each stream pauses with chance `pause` in every cycle. A payload or a valid that
    changes before it is taken fails, and so does a deadlock (more than `cycles` cycles; default: a
    generous multiple of the transfers).

    Parameters
    ----------
    dut : component with members named by the keys of `inputs` and `outputs`
    inputs : name -> payloads to push (integers, or mappings for structured payloads)
    outputs : name -> number of transfers to collect
    extra : another test bench, ``async def extra(ctx)``, run beside the streams' own

    Returns
    -------
    name -> list of payloads as Amaranth's simulator gives them.
    """
    got: dict[str, list[Any]] = {name: [] for name in outputs}
    total = sum(map(len, inputs.values())) + sum(outputs.values())
    limit = cycles if cycles is not None else 60 * total + 400

    async def watchdog(ctx):
        await ctx.delay(limit * 1e-6)  # cycles of the clock below
        came = ", ".join(f"{len(got[k])} of {n} from {k}" for k, n in outputs.items())
        raise TimeoutError(f"deadlock: {came}")

    # A combinational component has no clock of its own, the streams need one.
    top = Module()
    top.domains += ClockDomain("sync")
    top.submodules.dut = dut
    sim = Simulator(top)
    sim.add_clock(1e-6)
    # Processes, not test benches: they set signals as registers do, all with the clock, where the
    # design would settle anew after each signal that a test bench sets.
    busy, ended = {*inputs, *outputs}, Signal(range(len(inputs) + len(outputs) + 1))

    def ending(name: str, port: Callable[..., Any]) -> Callable[..., Any]:
        async def process(ctx):
            await port(ctx)
            busy.discard(name)
            ctx.set(ended, len(inputs) + len(outputs) - len(busy))

        return process

    for port, name in enumerate(inputs):
        source = _source(getattr(dut, name), inputs[name], pause, [seed, port])
        sim.add_process(ending(name, source))
    for port, name in enumerate(outputs, len(inputs)):
        sink = _sink(dut, name, outputs[name], got[name], pause, [seed, port])
        sim.add_process(ending(name, sink))

    async def whole(ctx):
        while busy:
            await ctx.changed(ended)

    sim.add_testbench(whole)
    if extra is not None:
        sim.add_testbench(extra, background=True)
    sim.add_testbench(watchdog, background=True)
    sim.run()
    return got


def run_operator(
    dut: Any, operands: Mapping[str, Sequence[int]], *, pause: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Codes int64 out of ``dut.o`` for equally many codes into each operand stream."""
    count = len(next(iter(operands.values())))
    return np.array(run_streams(dut, operands, {"o": count}, pause=pause, seed=seed)["o"], np.int64)


def _source(stream: Any, payloads: Sequence[Any], pause: float, seed: list[int]):
    """A process that pushes `payloads` into a stream."""
    rng = np.random.default_rng(seed)

    async def process(ctx):
        number, offered = 0, False
        ticks = ctx.tick().sample(stream.ready).__aiter__()
        while number < len(payloads):
            if not offered and (offered := rng.random() >= pause):
                payload = payloads[number]
                value = int(payload) if not isinstance(payload, Mapping) else payload
                ctx.set(stream.payload, value)
                ctx.set(stream.valid, 1)
            _, _, ready = await anext(ticks)
            if offered and ready:
                number, offered = number + 1, False
                ctx.set(stream.valid, 0)
        await ticks.aclose()

    return process


def _sink(dut: Any, name: str, count: int, got: list[Any], pause: float, seed: list[int]):
    """A process that appends `count` payloads of a stream to `got`."""
    rng, stream = np.random.default_rng(seed), getattr(dut, name)
    shape = stream.payload.shape()

    def payload_of(bits: int) -> Any:
        return shape.from_bits(bits) if isinstance(shape, ShapeCastable) else bits

    async def process(ctx):
        held: int | None = None
        ready = False
        # Payloads as bits: most cycles transfer none.
        ticks = ctx.tick().sample(stream.valid, Value.cast(stream.payload)).__aiter__()
        while len(got) < count:
            if ready != (rng.random() >= pause):
                ready = not ready
                ctx.set(stream.ready, ready)
            _, _, valid, bits = await anext(ticks)
            if held is not None and not (valid and bits == held):
                raise AssertionError(f"{name} left {payload_of(held)} before it was taken")
            held = bits if valid and not ready else None
            if valid and ready:
                got.append(payload_of(bits))
        ctx.set(stream.ready, 0)
        await ticks.aclose()

    return process

"""Transfers of a network's streams: what goes in, what golden expects out, what came out; and a
memory that offers states to whoever reads them."""

import numpy as np
from genogate.sim import golden


def features(sequences):
    """Payloads of the input stream for sequences of codes [steps, features]."""
    return [
        {"code": int(v), "last": int(k == rows.size - 1)}
        for rows in sequences
        for k, v in enumerate(rows.ravel())
    ]


def expected(model, sequences):
    """(value, last) of every transfer out of every stream, by golden."""
    out = {"o_h": []}
    for rows in sequences:
        result = golden.run(model, rows[None])
        answers = {"o_h": result.hidden[0]}
        if model.stage is not None:
            answers["o_codes"] = result.codes[0]
        else:
            answers["o_logits"] = result.logits[0]
        if model.head.output == "class":
            answers["o_class"] = result.classes[0]
        for name, values in answers.items():
            flat = np.ravel(values).tolist()
            out.setdefault(name, [])
            out[name] += [(v, int(k == len(flat) - 1)) for k, v in enumerate(flat)]
    return out


def received(got):
    """Simulated payloads of every stream as (value, last)."""
    return {name: [_value(payload) for payload in payloads] for name, payloads in got.items()}


def _value(payload):
    """The class of a sequence has no `last`: it is always the only one."""
    if isinstance(payload, int):
        return payload, 1
    names = {"code", "logit", "label"} & set(payload.shape().members)
    return int(payload[names.pop()]), int(payload.last)


def state_memory(reader, states, bits, lanes, pause, *, always=False):
    """A process that offers `states` [count, units], codes of `bits` bits, one after the other to
    `reader`, with pauses in between; and the list of the states that it has released so far.

    A word asked for is there a cycle later. `always`: the memory reads in every cycle, whether it
    is asked or not.
    """
    rng = np.random.default_rng([2026, 2])
    mask = (1 << bits) - 1
    released = []

    async def memory(ctx):
        for number, row in enumerate(states):
            while rng.random() < pause:
                await ctx.tick()
            ctx.set(reader.stands, 1)
            while True:
                _, _, read, word, release = await ctx.tick().sample(
                    reader.read, reader.word, reader.release
                )
                if read or always:
                    codes = row[word * lanes : (word + 1) * lanes]
                    packed = sum((int(c) & mask) << k * bits for k, c in enumerate(codes))
                    ctx.set(reader.data, packed)
                if release:
                    break
            released.append(number)
            ctx.set(reader.stands, 0)

    return memory, released

"""What screening stops, check by check, and what it counts."""

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.search.proxies.fitness import Bench
from genogate.search.proxies.formula import Proxy
from genogate.search.proxies.inputs import Inputs
from genogate.search.proxies.screening import CHECKS, Screen
from proxy_networks import network, statistics


@pytest.fixture(scope="module")
def inputs():
    return Inputs.of(statistics(1))


def screen(inputs, *checks, **options):
    return Screen([inputs], checks or CHECKS, **options)


@pytest.mark.parametrize(
    ("text", "check", "reason"),
    [
        # Of the whole formula or of one branch.
        ("mean(softmax(bits*weight))", "constant", "softmax"),
        ("product(bits, mean(softmax(bits*virtual_gradient)))", "constant", "softmax"),
        ("sum(total(square(error)), mean(normalize(weight)))", "constant", "normalize"),
        ("product(bits, max(min_max(gradient)))", "constant", "min_max"),
        ("product(bits, cosine(weight, weight))", "constant", "cosine"),
        ("product(bits, mean(sign(square(weight))))", "constant", "sign"),
        ("sum(bits, mean(less(abs(weight), negate(abs(error)))))", "constant", "less"),
        ("mean(log(weight))", "invalid", "log"),
        ("exp(exp(product(bits, elements)))", "invalid", "overflow"),
        ("total(square(weight))", "insensitive", "widths"),
        ("elements", "insensitive", "widths"),
        ("cube(cube(cube(product(bits, elements))))", "scale", "beyond"),
        ("sum(std(error), cube(product(elements, bits)))", "scale", "no effect"),
        ("maximum(std(error), sum(std(error), bits))", "scale", "no effect"),
        ("cube(cube(cube(share(square(error)))))", "scale", "one item"),
    ],
)
def test_each_check_stops_its_own(inputs, text, check, reason):
    judge = screen(inputs)
    verdict = judge(Proxy.parse(text))
    assert (verdict.check, verdict.tables) == (check, None)
    assert reason in verdict.reason
    assert judge.counts == {check: 1}
    # And no other check does.
    others = screen(inputs, *(each for each in CHECKS if each != check))
    assert others(Proxy.parse(text)).check is None or check in ("constant", "scale")


@pytest.mark.parametrize(
    "text",
    [
        "bits",
        "product(bits, elements)",
        "negate(total(square(error)))",
        "negate(dot(square(gradient), square(error)))",
        "negate(dot(normalize(gradient), square(error)))",  # its mean is 0, but not its product
        "product(bits, std(softmax(weight)))",
        "sum(bits, item_rank(abs(weight)))",
        "abslog(quotient(total(square(weight)), total(square(error))))",
    ],
)
def test_what_is_sound_passes_with_its_tables(inputs, text):
    judge = screen(inputs)
    verdict = judge(Proxy.parse(text))
    assert verdict.check is None, verdict.reason
    np.testing.assert_array_equal(verdict.tables[0], Proxy.parse(text).table(inputs))
    assert judge.counts == {"passed": 1}


def test_what_was_met_before_in_other_words_is_stopped(inputs):
    judge = screen(inputs)
    texts = ("sum(bits, std(error))", "sum(std(error), abs(bits))", "negate(sum(bits, std(error)))")
    assert [judge(Proxy.parse(t)).check for t in texts] == [None, "normal", "normal"]
    judge = screen(inputs, orient=False)
    assert [judge(Proxy.parse(t)).check for t in texts] == [None, "normal", None]


def test_what_ranks_as_another_is_stopped(inputs):
    judge = screen(inputs)
    assert judge(Proxy.parse("bits")).check is None
    # e^(log b) is b but for the guard, and quarters are no rewriting that the normal form knows.
    for text in ("exp(log(bits))", "quotient(product(bits, bits), bits)", "cbrt(cube(bits))"):
        verdict = judge(Proxy.parse(text))
        assert verdict.check in ("normal", "output"), text
    assert judge.counts["output"] >= 2


def test_a_part_may_be_constant_on_one_network_alone():
    """On a network whose tensors all have the same sign; but not on another."""
    stats = statistics(2)
    stats.tensors["gradient"] = tuple(np.abs(g) + 1 for g in stats.tensors["gradient"])
    proxy = Proxy.parse("product(bits, mean(sign(gradient)))")
    positive, other = Inputs.of(stats), Inputs.of(statistics(2))
    assert Screen([positive])(proxy).check == "constant"
    assert Screen([positive, other])(proxy).check is None


def test_nothing_is_stopped_where_all_is_switched_off(inputs):
    judge = Screen([inputs], ())
    for text in ("mean(softmax(weight))", "elements", "bits", "bits"):
        assert judge(Proxy.parse(text)).check is None
    verdict = judge(Proxy.parse("mean(log(weight))"))
    assert verdict.check is None
    assert verdict.tables is None
    assert "not a number" in verdict.reason
    assert judge.counts == {"passed": 5}


def test_it_remembers_across_a_restart(inputs):
    judge, again = screen(inputs), screen(inputs)
    judge(Proxy.parse("bits"))
    again.restore(judge.state())
    assert again(Proxy.parse("double(bits)")).check == "normal"
    assert again(Proxy.parse("exp(log(bits))")).check == "output"
    assert again.counts == {"passed": 1, "normal": 1, "output": 1}


def test_every_table_is_looked_at():
    benches = [Bench.of(*network(seed)) for seed in (1, 2)]
    verdict = Screen([b.inputs for b in benches])(Proxy.parse("negate(std(error))"))
    assert len(verdict.tables) == 2


def test_unknown_checks_are_refused(inputs):
    with pytest.raises(InputError, match="screening 'taste': normal, constant"):
        Screen([inputs], ("taste",))

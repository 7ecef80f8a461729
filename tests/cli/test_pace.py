"""Steps that come in, and a clock: the factor is told, and what is too slow is refused."""

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from genogate.cli import app
from genogate.model.errors import InputError
from genogate.model.knobs import Knobs
from genogate.network import build_network
from genogate.pace import Pace, clock_text, period_ns
from genogate.tinytapeout import print_project


@pytest.fixture(scope="module")
def network():
    return build_network(genome="int8", task=None, checkpoint=None, knobs=Knobs(), say=print)


def test_the_factor_counts_the_cycles_of_answers_too(network):
    steps = network.task.x_test.shape[1]
    cycles = network.design.cycles_per_sequence(steps) / steps
    pace = Pace(1000, 12).document(network)["pace"]
    assert pace["real_time"] == pytest.approx(12_000 / cycles, abs=0.01)
    assert cycles >= network.design.cycles_per_step


def test_what_is_too_slow_is_refused_by_how_much(network):
    cycles = network.design.cycles_per_step
    with pytest.raises(InputError, match=r"^steps-per-second: share none with lanes 1 takes") as e:
        Pace(1000, cycles / 2000).document(network)
    assert "2.0" in str(e.value)
    least = float(str(e.value).split("--clock ")[1].split(",")[0])
    assert Pace(1000, least).document(network)["pace"]["real_time"] >= 1
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("pace", "message"),
    [
        (Pace(50, None), "belong together"),
        (Pace(None, 12), "belong together"),
        (Pace(0, 12), "steps-per-second: 0 is not within"),
        (Pace(50, -1), "clock: -1 is not within"),
    ],
)
def test_half_a_demand_and_impossible_numbers_are_refused(pace, message):
    with pytest.raises(InputError, match=message):
        pace.check()


def test_nothing_is_said_without_a_demand(network):
    assert Pace().document(network) == {}


def test_too_slow_a_network_leaves_no_files(tmp_path):
    out = tmp_path / "out"
    words = ["gru", "--genome", "int8", "--share", "all", "--steps-per-second", "50000"]
    done = CliRunner().invoke(app, [*words, "--clock", "12", "--out", str(out)])
    assert done.exit_code != 0
    assert not out.exists()


def test_the_report_has_the_factor(tmp_path):
    words = ["area", "--genome", "int4", "--steps-per-second", "1000", "--clock", "12", "--json"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["pace"]["real_time"] > 1


@pytest.mark.parametrize(("clock", "period"), [(50, 20.0), (100, 10.0), (0.001, 1e6)])
def test_a_clock_in_megahertz_has_its_period_in_nanoseconds(clock, period):
    assert period_ns(clock) == pytest.approx(period)


@pytest.mark.parametrize(
    ("clock", "text"), [(20, "20 MHz, 50 ns"), (50, "50 MHz, 20 ns"), (66, "66 MHz, 15.1515 ns")]
)
def test_a_report_shows_frequency_and_period_of_a_clock(clock, text):
    assert clock_text(period_ns(clock)) == text


def test_the_report_of_a_tiny_tapeout_project_shows_its_clock(capsys):
    numbers = dict.fromkeys(
        ("um2", "cells", "flip_flops", "latches", "tiles", "density", "cycles_per_step"), 1
    )
    texts = dict.fromkeys(("top_module", "shape", "yosys", "library"), "")
    print_project({**numbers, **texts, "clock_ns": period_ns(20)}, Path("out"))
    assert re.search(r"^ *clock +20 MHz, 50 ns *$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("clock", [0, -1, float("nan")])
def test_a_clock_that_is_none_is_refused(clock):
    with pytest.raises(InputError, match=r"^clock: .* is not within"):
        period_ns(clock)


def test_every_command_takes_its_clock_in_megahertz():
    context = click.Context(app)
    units = {
        name: option.metavar
        for name in app.list_commands(context)
        for option in app.get_command(context, name).params
        if "--clock" in option.opts
    }
    assert {"gru", "area", "search", "asic", "tinytapeout"} <= set(units)
    assert set(units.values()) == {"MHZ"}

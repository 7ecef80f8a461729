"""What a search says while it runs and when it ends."""

from types import SimpleNamespace

import pytest
from genogate.commands.terminal import TimeLeft, duration
from genogate.reference import reference_of, size_text
from genogate.search.genomes.conclusion import table, within

INT8 = {"accuracy": 0.95, "size": 1000, "cells": 400, "memory": 90}
FRONT = [
    {"accuracy": 0.955, "size": 900, "cells": 390, "memory": 80},
    {"accuracy": 0.945, "size": 500, "cells": 300, "memory": 50},
    {"accuracy": 0.946, "size": 600, "cells": 250, "memory": 60},
    {"accuracy": 0.94, "size": 400, "cells": 250, "memory": 40},
    {"accuracy": 0.90, "size": 200, "cells": 100, "memory": 20},
]


def test_the_least_within_half_a_point_and_a_point_have_names():
    assert within(FRONT, INT8) == {
        "within-0.5-smallest": 1,
        "within-0.5-fewest-cells": 2,
        "within-1.0-smallest": 3,
        # Of equal cells the most accurate.
        "within-1.0-fewest-cells": 2,
    }


def test_nothing_is_named_where_nothing_is_near_enough_or_no_cells_are_known():
    assert within(FRONT[4:], INT8) == {}
    bare = [{"accuracy": 0.95, "size": 3}]
    assert list(within(bare, INT8)) == ["within-0.5-smallest", "within-1.0-smallest"]


def test_rows_are_relative_to_one_reference():
    named = {name: FRONT[k] for name, k in within(FRONT, INT8).items()} | {"knee": FRONT[4]}
    rows = table(FRONT, named, INT8, 2000)
    assert [row["name"] for row in rows] == ["int8", *within(FRONT, INT8), "knee"]
    assert [row["share"] for row in rows] == [0.5, 0.25, 0.3, 0.2, 0.3, 0.1]
    assert [row["drop"] for row in rows] == pytest.approx([0, 0.5, 0.4, 1.0, 0.4, 5.0])


def progress(generation, fresh, seconds, generations=10):
    return SimpleNamespace(
        generation=generation,
        generations=generations,
        fresh=fresh,
        seconds=seconds,
        per_generation=40,
    )


def test_a_slow_first_generation_does_not_spoil_the_time_left():
    left = TimeLeft()
    # 149 genomes in 1,490 s at first: the mean of generations would say 13,410 s.
    assert left(progress(1, 149, 1490.0)) == pytest.approx(10 * 40 * 9)
    assert left(progress(2, 189, 1590.0)) == pytest.approx(100 * 8)
    assert left(progress(3, 229, 1700.0)) == pytest.approx(105 * 7)
    # One that waited for other work changes little.
    assert left(progress(4, 269, 3700.0)) == pytest.approx(110 * 6)
    assert left(progress(10, 300, 4000.0)) == 0


def test_generations_from_the_store_tell_nothing_about_the_time_left():
    left = TimeLeft()
    assert left(progress(1, 0, 0.1)) is None
    assert left(progress(2, 0, 0.2)) is None
    assert left(progress(3, 10, 10.2)) == pytest.approx(1.02 * 40 * 7)
    assert left(progress(4, 20, 15.2)) == pytest.approx(5 * 6)


def test_durations_are_readable():
    assert [duration(s) for s in (5, 600, 7200)] == ["5 s", "10 min", "2.0 h"]


def test_other_units_are_told_relative_to_the_shipped_network():
    from genogate.model import zoo
    from genogate.model.data.tasks import load_task
    from genogate.model.knobs import Knobs

    task, own = load_task("digits-row"), zoo.load("digits-row")
    assert reference_of(task, own, Knobs(), 36002).name is None
    assert reference_of(task, zoo.load("digits-row-seed1"), Knobs(), 36002).name is None
    deeper = reference_of(task, zoo.load("digits-row-2layer"), Knobs(), 60000)
    assert (deeper.name, deeper.bits, deeper.own_bits) == ("digits-row", 36002, 60000)
    report = {"size_bits": 18001} | deeper.document(18001)
    text = size_text(report)
    assert "50.0% of int8 of digits-row, 30.0% of int8 with this network's units" in text

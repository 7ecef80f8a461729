"""The page of networks in real parts: what it says of networks that fit, and of the searches."""

from studies import targets


def row(task, genome, ebr, over):
    figures = {"lut": 2000.0, "ff": 500.0, "ebr": ebr, "dsp": 6.0}
    areas = {f"sky130 {kind}": {"um2": 90_000.0} for kind in ("flops", "latches", "sram")}
    return {
        "task": task,
        "genome": genome,
        "cycles_per_step": 4106,
        targets.UP5K: figures,
        "over": over,
        **areas,
    }


def document():
    rows = [
        row("kws10", "INT8", 34.0, {"ebr": 4.0}),
        row("kws10", "INT4", 19.0, {}),
        row("kws10", "mixed", 16.0, {}),
    ]
    error = {
        "median_percent": 1.1,
        "worst_percent": 3.3,
        "genomes": 25,
        "rank_correlation": 0.993,
        "ranked": 25,
        "ranked_network": "digits-row",
    }
    prices = {"cells": 3800.0, "um2": 98_000.0, "lut": 1100.0, "ebr": 11.0}
    point = {"um2": 50_000.0, "knobs": {"share": "all"}, "genes": [8] * 17, "cycles": 40_000}
    return {
        "rows": rows,
        "errors": {"sky130": {"error": {"um2": error}, "parts": 739}},
        "rom": {"kws4": {"memories": 9, "median_percent": 3.0, "sum_percent": -1.5}},
        "searches": {
            "int8": prices,
            "volumes": {
                n: {price: [0.25] for price in ("cells", "um2", "lut")} for n in targets.SEARCHES
            },
            "least": {n: dict(prices) for n in targets.SEARCHES},
        },
        "shared": {"points": 9, "shared": 7, "least": point, "saved_percent": 49.0},
        "yosys": "Yosys 0.70",
    }


def test_the_page_says_what_does_not_fit_and_by_how_much():
    text = "\n".join(targets.render(document()))
    assert "kws10 at INT8 does not fit an iCE40UP5K: 34 of 30 block RAMs" in text
    assert "**no**: block RAMs by 4" in text
    assert text.count("| yes |") == 2


def test_the_page_says_how_well_estimates_rank_and_what_sharing_saves():
    text = "\n".join(targets.render(document()))
    assert "| sky130 | um2 | 739 | 25 | 1.1 % | 3.3 % | 0.993 | 25 of digits-row |" in text
    assert "| kws4 | 9 | 3.0 % | -1.5 % |" in text
    assert "7 of the 9 points of the front share hardware" in text
    assert "49.0 % less than INT8" in text

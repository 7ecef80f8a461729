"""The page of networks in real parts: what it says of networks that fit, and of the searches."""

from genogate.model.files import write_json
from genogate.synth.yosys import find

from studies import part_tables, targets, verification


def row(task, genome, ebr):
    figures = {"lut": 2000.0, "ff": 500.0, "ebr": ebr, "dsp": 6.0}
    shares = {"um2": 90_000.0, "logic_um2": 2e4, "rom_um2": 4e4, "ram_um2": 3e4}
    areas = {f"sky130 {kind}": shares for kind in ("flops", "latches", "sram")}
    return {
        "task": task,
        "genome": genome,
        "cycles_per_step": 4106,
        "steps": 49,
        part_tables.UP5K: figures,
        part_tables.ECP5: figures,
        "uj_per_inference": 21.5,
        "real_time_factor": 58.5,
        **areas,
    }


def document():
    rows = [
        row("kws10", "INT8", 34.0),
        row("kws10", "INT4", 19.0),
        row("kws10", "mixed", 16.0),
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
        "missing": 0,
        "routed": [
            {"target": part_tables.ECP5, "task": "kws10", "genome": "INT4", "pipeline": 0}
            | {"lut": 1700, "ff": 380, "ram": 9, "dsp": 0, "fmax_mhz": 70.0}
            | {"cycles_per_step": 4106, "critical_path_ns": {"layer0.w_in": 9.0}},
            {"target": part_tables.UP5K, "task": "digits-row", "genome": "INT8", "pipeline": 2}
            | {"lut": 1800, "ff": 700, "ram": 11, "dsp": 3, "fmax_mhz": 38.0}
            | {"cycles_per_step": 1040}
            | {"critical_path_ns": {"layer0.control": 12.1, "layer0.w_iz": 8.3}},
        ],
        "energy_error": {"median_percent": 9.0, "worst_percent": 20.0, "genomes": 12},
        "yosys": "Yosys 0.70",
    }


def test_the_page_says_what_does_not_fit_and_by_how_much():
    text = "\n".join(targets.render(document()))
    assert "kws10 at INT8 does not: it needs 34 block RAMs of 30" in text
    assert "**no**: block RAMs by 4" in text
    # Two fit the small part, and all three the large one.
    assert text.count("| yes |") == 5
    assert text.count("| yes | 70.0 | 4,106 | 58.5 |") == 1
    assert "| 38.0 | 1,040 | layer0.control 12.1 ns, layer0.w_iz 8.3 ns |" in text
    assert "| 21.5 | 201,194 | 58.5 |" in text


def test_the_page_says_how_well_estimates_rank_and_what_sharing_saves():
    text = "\n".join(targets.render(document()))
    assert "| sky130 | um2 | 739 | 25 | 1.1 % | 3.3 % | 0.993 | 25 of digits-row |" in text
    assert "| kws4 | 9 | 3.0 % | -1.5 % |" in text
    assert "Of the front's 9 networks 7 share hardware" in text
    assert "49.0 % less than INT8" in text


def test_pieces_are_measured_once_and_a_budget_leaves_the_rest_for_the_next_call(tmp_path):
    measured = []

    def piece(name):
        measured.append(name)
        return {"name": name}

    first = part_tables.Pieces(tmp_path, "0.000001s", lambda text: None)
    assert first.get("a", lambda: piece("a")) is None
    assert (first.missing, measured) == (["a"], [])
    for _ in range(2):
        whole = part_tables.Pieces(tmp_path, None, lambda text: None)
        assert [whole.get(n, lambda n=n: piece(n)) for n in "ab"] == [{"name": "a"}, {"name": "b"}]
        assert whole.missing == []
    assert measured == ["a", "b"]


def test_verification_takes_what_the_page_has_of_the_same_verilog_and_tools(tmp_path, monkeypatch):
    page = tmp_path / "verification.json"
    monkeypatch.setattr(verification, "PAGE", page)
    assert verification._recorded() == {}
    row = {"sha256": "a" * 12, "verilog": {"mismatches": 0}, "sky130": {"mismatches": 0}}
    write_json(page, {"rows": [row], "yosys": find().version})
    assert sorted(verification._recorded()) == [("a" * 12, "sky130"), ("a" * 12, "verilog")]
    write_json(page, {"rows": [row], "yosys": "Yosys 0.1"})
    assert verification._recorded() == {}

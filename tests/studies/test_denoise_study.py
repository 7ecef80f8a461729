"""The page of the study of speech enhancement."""

from typing import Any

from genogate.model.files import write_json

from studies import denoise_distil, denoise_hardware
from studies.denoise import render


def row(seed: int, name: str, gain: float, trained: bool = False, **more: Any) -> dict[str, Any]:
    figures = {"si_sdr": gain + 4, "si_sdr_gain": gain, "stoi": 0.7 + gain / 100, "pesq": None}
    return {"seed": seed, "name": name, "trained": trained, **figures, **more}


def test_networks_are_told_against_float_seed_by_seed() -> None:
    hardware = {"size": 120_000, "um2": 250_000.0, "clock_mhz": 0.31}
    rows = [
        row(0, "noisy", 0.0),
        row(0, "float", 6.0),
        row(1, "float", 5.0),
        row(0, "INT4", 5.5, trained=True, **hardware),
        row(1, "INT4", 4.9, trained=True, **hardware),
    ]
    silicon = {"INT4": {"um2": 250_000.0, "uj_per_second": 70.25}}
    text = render({"rows": rows, "missing": 2, "epochs": 12, "silicon": silicon})
    assert "2 networks are not trained yet." in text
    line = next(part for part in text if part.startswith("| INT4, trained"))
    # Both seeds lose: 0.5 and 0.1 dB, so 0.3 with a standard error of 0.2.
    assert line == (
        "| INT4, trained | 5.20 | -0.30 ± 0.20 | 0.752 | -0.003 ± 0.002 | - | 120,000 | 250,000 "
        "| 70.2 | 0.31 |"
    )
    noisy = next(part for part in text if part.startswith("| noisy"))
    assert noisy == "| noisy | 0.00 |  | 0.700 |  | - |  |  |  |  |"


def test_the_page_says_which_trained_networks_reach_the_aim() -> None:
    def sized(name: str, gain: float, size: int, trained: bool = True) -> dict[str, Any]:
        return row(0, name, gain, trained, size=size, um2=1.0, clock_mhz=0.3)

    rows = [
        row(0, "float", 6.0),
        sized("INT8", 6.0, 1000, trained=False),
        sized("small", 5.95, 300),
        sized("large", 6.0, 500),
        sized("poor", 5.8, 200),
    ]
    silicon = {r["name"]: {"um2": 1.0, "uj_per_second": 1.0} for r in rows[1:]}
    text = render({"rows": rows, "missing": 0, "epochs": 12, "silicon": silicon})
    aim = next(line for line in text if line.startswith("Aim: 60 % fewer bits than INT8"))
    reached, missed = aim.split("That do not: ")
    assert "reach it: small (70.0 % fewer bits, -0.050 dB, -0.001 STOI)." in reached
    assert missed.startswith("large (50.0 %")
    assert "; poor (80.0 % fewer bits, -0.200 dB" in missed


def test_a_teacher_is_told_against_none_by_seeds_that_have_both() -> None:
    rows = [
        {"seed": 0, "teacher": "none", "val": 5.0, "test": 6.0},
        {"seed": 1, "teacher": "none", "val": 5.0, "test": 5.0},
        {"seed": 0, "teacher": "float", "val": 5.5, "test": 6.1},
        {"seed": 1, "teacher": "float", "val": 5.5, "test": 5.3},
        {"seed": 2, "teacher": "larger", "val": 5.5, "test": 9.0},
        {"seed": 0, "teacher": "the larger one itself", "val": 6.5, "test": 9.5},
    ]
    text = denoise_distil.render({"rows": rows, "missing": 1, "epochs": 4, "distil": 0.5})
    assert "1 networks are not trained yet." in text
    assert "| the float network it starts from | 0, 1 | 5.70 | +0.20 ± 0.10 | 5.50 |" in text
    # No training without a teacher of its seed.
    assert any(line.startswith("| a float network of 96 units | 2 | 9.00 | - |") for line in text)
    assert "Teachers themselves, in float, seed 0: the network of 96 units 9.50 dB." in text


def test_what_hardware_was_not_measured_is_left_open_and_the_models_say_if_it_fits() -> None:
    models = {
        name: {"lut": 4000.0, "ff": 700.0, "ebr": 31.0, "dsp": 1.0}
        for name in denoise_hardware.FPGAS
    }
    row = {"name": "INT8", "size": 1000, "cycles": 4000, "model_nj": 2000.0, "model_um2": 9.0}
    text = denoise_hardware.render({"rows": [row | {"models": models}], "missing": ["INT8: area"]})
    assert "Not measured yet: INT8: area." in text
    line = next(part for part in text if part.startswith("| INT8 | 1,000 |"))
    # 62.5 frames a second of 4,000 cycles at 12 MHz; 125 uJ by the model.
    assert line.endswith("| 9 | - | 125.0 | 4,000 | 0.25 | 48 |")
    fits = [part.split("|")[-2].strip() for part in text if "| the models |" in part]
    assert fits == ["no: 1 block RAMs too many", "yes", "yes"]


def test_the_page_says_which_verilog_was_simulated() -> None:
    models = {
        name: {"lut": 4000.0, "ff": 700.0, "ebr": 3.0, "dsp": 1.0}
        for name in denoise_hardware.FPGAS
    }
    row = {"size": 1000, "cycles": 4000, "model_nj": 2000.0, "model_um2": 9.0, "models": models}
    verilog = {
        "sequences": 20,
        "codes": 1234,
        "mismatches": 0,
        "versions": {"verilator": "Verilator 5"},
        "sha256": "012345abcdef",
    }
    simulated = row | {"name": "INT8", "digest": "012345abcdef", "verilog": verilog}
    former = row | {"name": "trained", "verilog": verilog | {"sha256": "ab"}}
    rows = [simulated, row | {"name": "narrowed"}, former]
    text = denoise_hardware.render({"rows": rows, "missing": []})
    assert any(line.startswith("| INT8 | 1,000 | 20 | 1,234 | 0 |") for line in text)
    assert (
        "First digits of SHA-256 of the Verilog that was simulated, without its header: INT8 "
        "`012345abcdef`, trained `ab` (with it) (Verilator 5)." in text
    )


def test_one_netlist_is_held_to_both_ecp5_and_shared_networks_have_a_table() -> None:
    figures = {"lut": 4000.0, "ff": 700.0, "ebr": 31.0, "dsp": 1.0}
    row = {"name": "INT8", "size": 1000, "cycles": 4000, "model_nj": 2000.0, "model_um2": 9.0}
    whole = {"lut": 30_000, "ff": 700, "ram": 57, "dsp": 1}
    area = {"logic_um2": 3.0, "rom_um2": 2.0, "ram_um2": 1.0, "total_um2": 6.0}
    more = {
        "models": dict.fromkeys(denoise_hardware.FPGAS, figures),
        "ecp5-25k": {"whole": whole},
        "shared": {"cycles": 40_000, "model_um2": 7.0, "model_energy": 1000.0},
        "area shared": area,
    }
    text = denoise_hardware.render({"rows": [row | more], "missing": []})
    mapped = [part for part in text if "| Yosys |" in part]
    assert [part.split("|")[2].strip() for part in mapped] == ["ecp5-25k", "ecp5-85k"]
    assert mapped[0].endswith("| no: 5,712 LUTs, 1 block RAMs too many |")
    assert mapped[1].endswith("| yes |")
    # 62.5 frames a second of 40,000 cycles: 2.5 MHz.
    assert "| INT8 | 3 | 2 | 1 | 6 | 7 | 62.5 | 40,000 | 2.50 | 4.8 |" in text


def test_what_is_stored_of_the_same_verilog_is_not_measured_again(monkeypatch, tmp_path) -> None:
    told = {"name": "INT8", "digest": "aa", "size": 1}
    monkeypatch.setattr(denoise_hardware, "NETWORKS", {"INT8": 0})
    monkeypatch.setattr(denoise_hardware, "_row", lambda name: dict(told))
    monkeypatch.setattr(
        denoise_hardware,
        "_works",
        lambda *_: {"area": lambda: {"n": 1}, "energy": lambda: {"n": 2}},
    )
    other = {"name": "INT8, trained", "verilog": {"codes": 5}}
    for digest, energy in (("aa", 9), ("bb", 2)):
        data = tmp_path / f"{digest}.json"
        write_json(data, {"rows": [told | {"digest": digest, "energy": {"n": 9}}, other]})
        folder = tmp_path / f"run-{digest}"
        folder.mkdir()
        found = denoise_hardware.measure(lambda text: None, folder, None, data)
        assert found["rows"] == [told | {"area": {"n": 1}, "energy": {"n": energy}}, other]
    empty = denoise_hardware.measure(
        lambda text: None, tmp_path, "0.000001s", tmp_path / "none.json"
    )
    assert empty["missing"] == ["INT8: area", "INT8: energy"]

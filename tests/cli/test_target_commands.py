"""The commands for real parts refuse what they cannot do in one line, before any work."""

import json

import pytest
from click.testing import CliRunner
from genogate.cli import app
from genogate.host import session
from genogate.model.errors import InputError
from genogate.model.files import write_json
from genogate.synth.boards import BOARDS, serial_rate
from genogate.synth.targets.devices import DEVICES


def refusal(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


def test_an_unknown_target_is_refused():
    assert refusal("area", "--target", "virtex").startswith("target 'virtex': not one of generic")


@pytest.mark.parametrize("command", ["area", "gru", "search"])
def test_a_target_that_is_none_is_refused_everywhere(command):
    assert refusal(command, "--target", "asic").startswith("target 'asic': not one of generic")


@pytest.mark.parametrize("command", ["area", "gru", "search"])
def test_memories_that_a_target_does_not_have_are_refused(command):
    text = refusal(command, "--target", "ecp5-25k", "--memories", "sram")
    assert text.startswith("--memories sram: for --target sky130")
    assert "not one of flops" in refusal(command, "--target", "sky130", "--memories", "x")


def test_a_search_by_a_figure_of_no_target_is_refused():
    text = refusal("search", "--objectives", "accuracy,um2")
    assert "um2 is a figure of --target sky130" in text


def test_only_fpgas_are_routed():
    assert "target sky130 is no FPGA" in refusal("area", "--target", "sky130", "--route")


def test_only_standard_cells_have_an_energy():
    text = refusal("area", "--target", "ice40-up5k", "--energy")
    assert text == "--energy: only sky130 has it, not ice40-up5k"


def test_energy_without_opensta_is_refused(monkeypatch):
    monkeypatch.setenv("STA", "/nowhere/sta")
    assert "OpenSTA not found" in refusal("area", "--target", "sky130", "--energy")


def test_a_tile_loads_no_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("genogate.synth.cells.liberty.find", lambda *_: None)
    folder = tmp_path / "out"
    text = refusal("tinytapeout", "--weights", "load", "--genome", "int2", "--out", str(folder))
    assert text.startswith("weights load: a tile has no pins for them: give --weights rom")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ({}, "report.json: not what genogate gru --weights load writes"),
        ({"weights": {"hardware": "b" * 16}}, "made for hardware bbbbbbbbbbbbbbbb, the bitstream"),
        (None, "cannot read"),
    ],
)
def test_weights_of_other_hardware_are_refused_before_the_port_is_opened(tmp_path, report, reason):
    board, other = tmp_path / "board", tmp_path / "other"
    document = {"baud": 115200, "clock_mhz": 12, "task": "digits-row"}
    write_json(board / "board.json", document | {"weights": {"hardware": "a" * 16, "width": 15}})
    if report is not None:
        write_json(other / "report.json", report)
    text = refusal("host", "--port", "/dev/none", "--model", str(board), "--load", str(other))
    assert reason in text


def test_constant_weights_are_not_loaded(tmp_path):
    write_json(tmp_path / "board.json", {"baud": 115200, "clock_mhz": 12, "task": "digits-row"})
    text = refusal("host", "--port", "/dev/none", "--model", str(tmp_path), "--load", "other")
    assert text.startswith("load other: the bitstream in")


def test_an_unknown_board_is_refused():
    assert refusal("bitstream", "--board", "x").startswith("board 'x': not one of icebreaker")


def test_a_folder_without_a_bitstream_is_refused(tmp_path):
    text = refusal("host", "--port", "/dev/none", "--model", str(tmp_path))
    assert "board.json: No such file" in text
    assert text.endswith("; give the folder that genogate bitstream wrote to")


def test_a_folder_is_no_liberty_file(tmp_path):
    text = refusal("asic", "--liberty", str(tmp_path))
    assert text.startswith(f"{tmp_path}: a folder, a Liberty file is needed; set GENOGATE_LIBERTY")


def test_a_board_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "board.json").write_text(json.dumps({"baud": 9600}))
    with pytest.raises(InputError, match="not what genogate bitstream writes"):
        session("/dev/none", str(tmp_path), None, 1, None, 1.0, print)


def test_every_board_has_a_target():
    assert {board.target for board in BOARDS.values()} <= set(DEVICES)


def test_the_serial_port_is_as_fast_as_the_network_keeps_up_with():
    assert serial_rate(12e6, 8, 1040) == (115200, 104)
    # 64 units and one feature a step: 4,160 cycles, a byte must take longer than that.
    baud, divisor = serial_rate(12e6, 1, 4160)
    assert baud < 115200
    assert 10 * divisor > 4160
    with pytest.raises(InputError, match="give more lanes"):
        serial_rate(12e6, 1, 10_000_000)

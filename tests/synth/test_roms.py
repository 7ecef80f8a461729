# amaranth: UnusedElaboratable=no
"""ROMs as rows and columns that share ORs: every word, to the cycle, and less area."""

import shutil
import subprocess

import numpy as np
import pytest
from genogate.hdl.memories import Rom
from genogate.model.errors import InputError
from genogate.synth.cells import liberty, roms
from genogate.synth.constants import to_rtlil
from genogate.synth.rtlil import Design
from genogate.synth.targets.cell_pieces import pieces_of
from genogate.synth.targets.sky130 import measure

SEED = 2026
BENCH = """
module bench;
  reg clk = 0, enable = 1;
  reg [{top}:0] address;
  wire [{width}-1:0] data;
  integer k;
  rom unit (clk, address, enable, data);
  initial begin
    for (k = 0; k < {count}; k = k + 1) begin
      address = k; enable = 1; #1 clk = 1; #1 clk = 0;
      // What was read stays while another address is not asked for.
      address = k + 1; enable = 0; #1 clk = 1; #1 clk = 0;
      $display("%0d", data);
    end
  end
endmodule
"""


def words_of(count, width, seed=SEED):
    rng = np.random.default_rng([seed, count, width])
    return tuple(int("".join(map(str, rng.integers(0, 2, width))), 2) for _ in range(count))


def read(text, count, width, folder):
    """Every word of a ROM's Verilog, in Icarus."""
    if shutil.which("iverilog") is None:
        pytest.skip("no iverilog")
    bench = BENCH.format(top=(count - 1).bit_length() - 1, width=width, count=count)
    (folder / "rom.v").write_text(text + bench)
    subprocess.run(["iverilog", "-g2005", "-o", "rom", "rom.v"], cwd=folder, check=True)
    done = subprocess.run(["vvp", "rom"], cwd=folder, check=True, capture_output=True, text=True)
    return tuple(map(int, done.stdout.split()))


@pytest.mark.parametrize(
    ("count", "width", "columns", "group"),
    [(1000, 1, 5, 4), (64, 3, 3, 8), (300, 22, 5, 2), (257, 1, 8, 5), (1024, 2, 9, 3)],
)
def test_every_word_is_read(count, width, columns, group, tmp_path):
    words = words_of(count, width)
    layout = roms.Layout(columns, group)
    text = roms.verilog("rom", roms.Contents(words, width), layout)
    assert read(text, count, width, tmp_path) == words


@pytest.mark.parametrize("words", [(0,) * 600, (3,) * 600, (*(0,) * 599, 1)])
def test_contents_without_information_are_read(words, tmp_path):
    text = roms.verilog("rom", roms.Contents(words, 2), roms.Layout(5, 4))
    assert read(text, 600, 2, tmp_path) == words


def test_contents_are_found_in_rtlil_and_replaced():
    words = words_of(700, 5)
    text = to_rtlil(Rom(list(words), 5), "top")
    (module,) = Design(text).modules.values()
    assert roms.Contents.of(module.lines) == roms.Contents(words, 5)
    left, written = roms.grouped(text)
    assert "$mem" not in left
    assert "cell \\top.logic" in left
    assert written.count("endmodule") == 1


def test_small_roms_and_written_memories_stay():
    text = to_rtlil(Rom(list(words_of(16, 4)), 4), "top")
    assert roms.grouped(text) == (text, "")


def test_a_large_rom_takes_less_area_than_yosys_makes_of_it():
    try:
        library = liberty.find()
    except InputError as error:
        pytest.skip(str(error))
    words = words_of(2000, 1)
    text = to_rtlil(Rom(list(words), 1), "top")
    (piece,) = pieces_of(Design(text), "rom")
    (cost,) = measure([piece], workers=1, library=library)
    # Yosys 0.70 makes 2,247 um^2 of the memory as it is.
    assert cost.um2 < 2100

"""Large memories in files: the same words, and small ones left alone."""

from genogate.hdl.memories import Rom
from genogate.sim.rtl.memory_files import LEAST, with_memory_files
from genogate.synth.verilog import to_verilog


def test_words_of_a_large_memory_go_into_a_file(tmp_path):
    words = [(7 * k) % 509 for k in range(LEAST)]
    text = to_verilog(Rom(words, 9), "rom")
    moved = with_memory_files(text, tmp_path)
    (path,) = tmp_path.iterdir()
    assert [int(line, 16) for line in path.read_text().split()] == words
    assert f'$readmemh("{path}", memory);' in moved
    assert "memory[0] = " in text
    assert "memory[0] = " not in moved
    # Nothing else has changed.
    assert moved.splitlines()[-8:] == text.splitlines()[-8:]


def test_a_small_memory_stays_in_the_text(tmp_path):
    text = to_verilog(Rom([1, 2, 3], 9), "rom")
    assert with_memory_files(text, tmp_path) == text
    assert not list(tmp_path.iterdir())

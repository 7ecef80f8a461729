"""Models of ECP5's blocks that netlists are simulated with."""

import subprocess

import numpy as np
import pytest

from studies.ecp5_blocks import models

WORDS = 16


def _simulated(tmp_path, body: str) -> list[str]:
    bench = f"module bench;\n{body}\nendmodule\n"
    (tmp_path / "bench.v").write_text(models() + bench)
    subprocess.run(
        ["iverilog", "-g2012", "-s", "bench", "-o", "b", "bench.v"], cwd=tmp_path, check=True
    )
    done = subprocess.run(
        ["vvp", "-n", "b"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    return done.stdout.split()


@pytest.mark.parametrize("width", [1, 2, 4, 9, 18])
def test_a_block_ram_gives_its_contents_at_every_width(tmp_path, width):
    rng = np.random.default_rng(2026)
    # Bits in the order of their places: 18 of each word, of narrow words 8 of 9.
    words = [int(rng.integers(0, 1 << 18)) for _ in range(WORDS)]
    contents = sum(word << (20 * k) for k, word in enumerate(words))
    bits = "".join(f"{word:018b}"[::-1] for word in words)
    usable = bits if width >= 9 else "".join(bits[k : k + 8] for k in range(0, len(bits), 9))
    expected = [int(usable[k : k + width][::-1], 2) for k in range(0, len(usable), width)]
    shift = {1: 0, 2: 1, 4: 2, 9: 3, 18: 4}[width]
    pins = ", ".join(f".ADA{k}(a[{k}]), .DOA{k}(q[{k}])" for k in range(14))
    pins += "".join(f", .DOA{k}(q[{k}])" for k in range(14, 18))
    said = _simulated(
        tmp_path,
        f"""
        reg clk = 0; reg [13:0] a = 0; wire [17:0] q; integer k;
        DP16KD #(.DATA_WIDTH_A({width}), .INITVAL_00(320'h{contents:080x})) ram
          (.CLKA(clk), .CEA(1'b1), {pins});
        initial for (k = 0; k < {len(expected)}; k = k + 1) begin
          a = k << {shift}; #1 clk = 1; #1 $display("%0d", q); clk = 0;
        end""",
    )
    assert [int(word) for word in said] == expected


def test_a_multiplier_takes_each_factor_as_its_pin_says(tmp_path):
    cases = [(-5, 1, 7, 0), (-131072, 1, -131072, 1), (262143, 0, 262143, 0), (262143, 0, -1, 1)]
    pins = ", ".join(f".A{k}(a[{k}]), .B{k}(b[{k}])" for k in range(18))
    pins += "".join(f", .P{k}(p[{k}])" for k in range(36))
    steps = "".join(
        f"a = {a & 0x3FFFF}; sa = {sa}; b = {b & 0x3FFFF}; sb = {sb}; "
        '#1 $display("%0d", $signed(p));'
        for a, sa, b, sb in cases
    )
    said = _simulated(
        tmp_path,
        f"""
        reg [17:0] a, b; reg sa, sb; wire [35:0] p;
        MULT18X18D product (.SIGNEDA(sa), .SIGNEDB(sb), {pins});
        initial begin {steps} end""",
    )
    values = [(a * b + (1 << 35)) % (1 << 36) - (1 << 35) for a, _, b, _ in cases]
    assert [int(word) for word in said] == values

# amaranth: UnusedElaboratable=no
"""How Yosys measures a module: scripts for cells, transistors and memory bits.

What counts is told in :mod:`.area`."""

import hashlib
import json
import re
from functools import cache

# No SAT sweep without a limit: on multipliers by run-time factors it does not end.
ABC_SCRIPT = """strash
&get -n
&fraig -x -C 100
&put
dc2
balance -l
resub -K 6 -l
rewrite -l
resub -K 6 -N 2 -l
refactor -l
resub -K 8 -l
balance -l
resub -K 8 -N 2 -l
rewrite -l
resub -K 10 -l
rewrite -z -l
resub -K 10 -N 2 -l
balance -l
resub -K 12 -l
refactor -z -l
resub -K 12 -N 2 -l
rewrite -z -l
balance -l
strash
&get -n
&dch -f
&nf
&put
"""
# For small units alone: seconds of processor time each. Iterations, not a time limit, so that it
# gives the same on every machine.
DEEP_SCRIPT = """strash
&get -n
&fraig -x -C 100
&deepsyn -I 4 -J 20
&put
strash
&get -n
&dch -f
&nf
&put
"""
# Tables are case statements and shall not become memories; memories get no optimisation, since
# that would look at their contents. Enables and resets are not given to flip-flops on the way,
# because these have none in the end. What is deleted last are memories and black boxes.
_SCRIPT = """read_rtlil unit.il
hierarchy -check -top top
proc -norom
flatten
tee -q -o memory.json stat -json
memory_collect
opt_expr
opt_clean
opt -nodffe -nosdff
wreduce
peepopt
opt_clean
{multipliers}
opt -full -nodffe -nosdff
techmap
opt -nodffe -nosdff
dfflegalize -cell $_DFF_P_ 01
abc -script area.abc
opt -noff
opt_clean -purge
delete t:$mem_v2 t:n*
tee -q -o logic.json stat -json -tech cmos
"""
# Booth's encoding makes a multiplier of two variable operands smaller from about this size on,
# and one by a few slopes larger: where it applies both are tried, and the smaller counts.
_BOOTH_BITS = 6
_WIDE = f"t:$mul r:A_WIDTH>={_BOOTH_BITS} %i r:B_WIDTH>={_BOOTH_BITS} %i"
RECIPES = {
    "array": _SCRIPT.format(multipliers=""),
    # The smaller architecture is for signed multipliers only.
    "booth": _SCRIPT.format(multipliers=f"booth -lowpower {_WIDE} r:A_SIGNED=1 %i\nbooth {_WIDE}"),
}
_MULTIPLIER = re.compile(r"cell \$mul .*?\n  end", re.DOTALL)
_WIDTHS = re.compile(r"\\[AB]_WIDTH (\d+)")


@cache
def script_hash() -> str:
    """Ten hex digits that change whenever the way of measuring does."""
    return hashlib.sha256(json.dumps([RECIPES, ABC_SCRIPT]).encode()).hexdigest()[:10]


def recipes_for(unit: str) -> list[str]:
    """Names of the recipes that may differ on `unit`."""
    wide = any(
        min(map(int, _WIDTHS.findall(cell)), default=0) >= _BOOTH_BITS
        for cell in _MULTIPLIER.findall(unit)
    )
    return ["array", "booth"] if wide else ["array"]

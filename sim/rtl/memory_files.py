"""Contents of large memories in files, for simulators that compile every assignment."""

import os
import re
from pathlib import Path

from ...model.files import write_text

#: Words from which a memory is read from a file.
LEAST = 2048
_BLOCK = re.compile(
    r"^  initial begin\n((?:    (?P<name>\w+)\[\d+\] = \d+'h[0-9a-f]+;\n)(?:    (?P=name)\[\d+\] = "
    r"\d+'h[0-9a-f]+;\n)*)  end\n",
    re.M,
)
_WORD = re.compile(r"\[(\d+)\] = \d+'h([0-9a-f]+);")


def with_memory_files(text: str, folder: str | os.PathLike[str]) -> str:
    """Verilog of Yosys with the contents of large memories in files of `folder`, which are written.

    A network of 400 units has a million words of weights, which Verilator makes as many C++
    statements of; the digits stay what they are.
    """

    count = 0

    def moved(block: re.Match[str]) -> str:
        nonlocal count
        words = _WORD.findall(block[1])
        # Words in a row from the first on, as a file has them.
        if len(words) < LEAST or any(int(at) != k for k, (at, _) in enumerate(words)):
            return block[0]
        path, count = Path(folder) / f"memory{count}.hex", count + 1
        write_text(path, "".join(f"{digits}\n" for _, digits in words))
        return f'  initial $readmemh("{path}", {block["name"]});\n'

    return _BLOCK.sub(moved, text)

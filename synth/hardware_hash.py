"""What tells one state of the code that makes hardware from another.

Comments, docstrings and layout are none of it: areas that were measured stay good when only these
change.
"""

import ast
import hashlib
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from .. import hdl
from . import cache as kept

_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def meaning(text: str) -> str:
    """The syntax tree of a Python module without its docstrings, as text; other versions of Python
    may write it differently."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree)


def hash_of(texts: Iterable[str]) -> str:
    """SHA-256 of what these modules mean, in hex digits.

    To parse all hardware takes 0.7 s, so the answer is kept on disk under the hash of the letters.
    """
    texts = list(texts)
    letters = "\0".join(["meaning", sys.version, *texts])
    key = hashlib.sha256(letters.encode()).hexdigest()
    answer = kept.load_text(key)
    if answer is None:
        answer = hashlib.sha256("\0".join(map(meaning, texts)).encode()).hexdigest()
        kept.store_text(key, answer)
    return answer


@cache
def hardware_hash() -> str:
    """Changes whenever the code that components are made by does."""
    folder = Path(hdl.__file__).parent
    return hash_of(path.read_text("utf-8") for path in sorted(folder.rglob("*.py")))

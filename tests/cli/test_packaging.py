"""The package as it is installed: what is in it, and who may import whom."""

import ast
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = ("model", "sim", "hdl", "synth", "search")
#: Room -> rooms that it may import from. What drives Verilog, sim/rtl, also knows the hardware.
MAY_IMPORT = {
    "model": {"model"},
    "sim": {"model", "sim"},
    "hdl": {"model", "sim", "hdl"},
    "synth": {"model", "sim", "hdl", "synth"},
    "search": {"model", "sim", "hdl", "synth", "search"},
}
#: Makes the modules that follow look as if they were not installed.
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
blocked = """


def python_folders():
    """Folders of the repository that hold an ``__init__.py`` and are installed."""
    found = set()
    for path in ROOT.rglob("__init__.py"):
        parts = path.parent.relative_to(ROOT).parts
        if parts[0] not in ("tests", "build", "studies", "tools") and not parts[0].startswith("."):
            found.add("/".join(parts))
    return found


def test_the_mapped_packages_are_the_folders_that_exist():
    mapped = PROJECT["tool"]["setuptools"]["package-dir"]
    folders = {
        folder if folder.startswith("genogate") else f"genogate/{folder}"
        for folder in python_folders()
    }
    packages = {name.replace(".", "/") for name in PROJECT["tool"]["setuptools"]["packages"]}
    assert packages == folders
    top = {name: folder for name, folder in mapped.items() if "/" not in folder}
    assert top == {"genogate": "genogate", **{f"genogate.{name}": name for name in FOLDERS}}


def rooms_imported(path):
    """First folders that the relative imports of `path` lead to."""
    package = ["genogate", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = base + (node.module.split(".") if node.module else [])
            names = [target] if len(target) > 1 else [[*target, a.name] for a in node.names]
            yield from (name[1] for name in names if name[1] != "__version__")
        elif isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("genogate"), f"{path}: import it relatively"
        elif isinstance(node, ast.Import):
            for name in node.names:
                assert not name.name.startswith("genogate"), f"{path}: import it relatively"


@pytest.mark.parametrize("room", FOLDERS)
def test_a_room_imports_only_from_its_left(room):
    for path in sorted((ROOT / room).rglob("*.py")):
        allowed = MAY_IMPORT[room]
        if path.is_relative_to(ROOT / "sim" / "rtl"):
            allowed = allowed | {"hdl", "synth"}
        extra = set(rooms_imported(path)) - allowed
        assert not extra, f"{path.relative_to(ROOT)} imports from {extra}"


def test_emitting_needs_neither_torch_nor_cocotb():
    program = f"""
{BLOCK} ("torch", "cocotb", "cocotb_tools", "pymoo", "numba")
import genogate.cli, genogate.outputs, genogate.synth.verilog, genogate.model.quantize.quantize
import genogate.model.checkpoints.training, genogate.model.zoo
import genogate.sim.golden, genogate.synth.area
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_training_without_torch_says_what_to_install(tmp_path):
    program = f"""
{BLOCK} ("torch",)
sys.argv = ["genogate", "train", "--epochs", "1"]
from genogate.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == (
        "genogate: training needs torch, which is not installed: pip install 'genogate[train]'\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_help_loads_nothing_heavy():
    program = """
import sys
sys.argv = ["genogate", "--help"]
from genogate.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code
heavy = {"numpy", "torch", "amaranth", "sklearn", "rich", "numba"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def pins():
    """Pinned version of every distribution, by canonical name."""
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_requirement_is_pinned_within_its_range():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    pinned = pins()
    project = PROJECT["project"]
    for text in [*project["dependencies"], *chain(*project["optional-dependencies"].values())]:
        wanted = Requirement(text)
        if wanted.name != "genogate":
            pin = Version(pinned[canonicalize_name(wanted.name)])
            assert wanted.specifier.contains(pin), f"{text}: pinned at {pin}"


def test_every_pin_takes_the_oldest_python():
    """Debian 12 has 3.11.2; a release for 3.11.5 and newer leaves nothing to install there."""
    from importlib.metadata import distributions

    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name

    oldest = PROJECT["project"]["requires-python"].removeprefix(">=") + ".0"
    pinned, seen = pins(), set()
    for found in distributions():
        name = canonicalize_name(found.metadata["Name"])
        if pinned.get(name) == found.version:
            seen.add(name)
            needed = found.metadata.get("Requires-Python") or ">=3"
            assert SpecifierSet(needed).contains(oldest), f"{name} {found.version}: {needed}"
    assert {"amaranth", "numpy", "pytest"} <= seen


def test_every_command_of_the_makefile_is_one_of_the_program():
    from genogate.cli import app

    used = set(re.findall(r"\$\(BIN\)/genogate ([a-z]+)", (ROOT / "Makefile").read_text()))
    assert used == set(app.list_commands(None))


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["search", "--pop", "4", "--generations", "1"], "search"),
        (["report", "run"], "search"),
        (["experiment"], "search"),
        (["qat", "--genome", "int4"], "train"),
        (["proxy", "search", "--table", "digits-row", "--evaluations", "1"], "search"),
    ],
)
def test_a_core_installation_says_which_extra_a_command_needs(tmp_path, command, extra):
    program = f"""
{BLOCK} ("numba", "pymoo", "matplotlib", "joblib", "torch", "cocotb")
sys.argv = {["genogate", *command]!r}
from genogate.cli import main
main()
"""
    # A folder in which a search has begun.
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2, done
    assert done.stderr.startswith("genogate: "), done
    assert done.stderr.count("\n") == 1, done
    assert f"pip install 'genogate[{extra}]'" in done.stderr, done

"""What is counted of a tree of the repository: rooms, long definitions, import circles, names."""

import ast
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

#: Rooms of the installed package; each may import those before it.
ROOMS = ("model", "sim", "hdl", "synth", "search", "genogate")
#: Folders beside the package.
BESIDE = ("studies", "tools", "tests")
LONG_FILE, VERY_LONG_FILE, LONG_FUNCTION, LONG_CLASS = 300, 500, 60, 250
#: Participles and pronouns that name nothing, and methods named alike.
VAGUE = frozenset(["found", "about", "wanted", "known", "made", "chosen", "kept", "own"])
VAGUE_METHODS = frozenset(["_also", "_light", "_told", "_whole", "_grown"])
#: Modules that write the results, in this tree and in earlier ones.
WRITES_RESULTS = "genogate.results"


class HouseError(Exception):
    """A tree that cannot be counted; the text is one line."""


@dataclass(frozen=True)
class Module:
    """A Python file. `name` is its dotted name, `genogate.hdl.dense` for ``hdl/dense.py``."""

    name: str
    path: Path
    text: str

    @property
    def room(self) -> str:
        """The top-level folder that it lies in."""
        parts = self.name.split(".")
        return (
            parts[1] if parts[0] == "genogate" and parts[1:2] in [[r] for r in ROOMS] else parts[0]
        )

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def spans(self, *kinds: type[ast.AST]) -> Iterator[tuple[str, int]]:
        """Name and number of lines of every definition of these kinds, docstrings included."""
        for node in ast.walk(self.tree):
            if isinstance(node, kinds):
                yield f"{self.name}.{node.name}", node.end_lineno - node.lineno + 1  # type: ignore[attr-defined]

    def vague_names(self) -> list[str]:
        """Variables, parameters and methods whose name says nothing, once a binding."""
        names = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.append(node.id)
            elif isinstance(node, ast.arg):
                names.append(node.arg)
            elif isinstance(node, ast.FunctionDef) and node.name in VAGUE_METHODS:
                names.append(node.name)
        return [name for name in names if name in VAGUE | VAGUE_METHODS]


def modules_of(root: Path) -> dict[str, Module]:
    """Every module of the rooms of the tree at `root`, and of the folders beside them, by name."""
    modules = {}
    for room in (*ROOMS, *BESIDE):
        for path in sorted((root / room).rglob("*.py")):
            parts = list(path.relative_to(root).with_suffix("").parts)
            if room in ROOMS and room != "genogate":
                parts.insert(0, "genogate")
            if parts[-1] == "__init__":
                parts.pop()
            name = ".".join(parts)
            modules[name] = Module(name, path, path.read_text())
    if not any(module.room in ROOMS for module in modules.values()):
        raise HouseError(f"{root}: there is none of the rooms {', '.join(ROOMS)}")
    return modules


def _targets(module: Module, node: ast.ImportFrom, modules: dict[str, Module]) -> Iterator[str]:
    package = module.name.split(".")
    if module.path.name != "__init__.py":
        package.pop()
    base = package[: len(package) - node.level + 1] if node.level else []
    source = ".".join([*base, *([node.module] if node.module else [])])
    for alias in node.names:
        inner = f"{source}.{alias.name}"
        yield inner if inner in modules else source


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_of(module: Module, modules: dict[str, Module], types: bool = False) -> set[str]:
    """Names of our modules that `module` imports, inside functions too, or starts by their name;
    with `types` also what only annotations need."""
    names: set[str] = set()
    nodes: list[ast.AST] = [module.tree]
    while nodes:
        node = nodes.pop()
        if _is_type_checking(node) and not types:
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom):
            names.update(_targets(module, node, modules))
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("genogate."):
            names.add(str(node.value))
    return (names & modules.keys()) - {module.name, "genogate"}


def circles_of(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others (Tarjan, 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    circles = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                circles.append(sorted(group))

    for name in graph:
        if name not in order:
            visit(name)
    return circles


def _floor(module: Module) -> int:
    """Place in the order; what drives the emitted Verilog, sim/rtl, comes after synth."""
    if module.name.startswith("genogate.sim.rtl"):
        return ROOMS.index("synth")
    return ROOMS.index(module.room)


def arrows_against(modules: dict[str, Module]) -> list[str]:
    """Imports from a room of one to its right, those of annotations included."""
    return [
        f"{name} -> {target}"
        for name, module in modules.items()
        for target in sorted(imports_of(module, modules, types=True))
        if module.room in ROOMS
        and (modules[target].room not in ROOMS or _floor(module) < _floor(modules[target]))
    ]


def reached(starts: set[str], graph: dict[str, set[str]], closed: frozenset[str]) -> set[str]:
    """Modules that one gets to from `starts` by imports, without passing through `closed`."""
    seen: set[str] = set()
    to_visit = [name for name in starts if name not in closed]
    while to_visit:
        name = to_visit.pop()
        if name not in seen:
            seen.add(name)
            to_visit += graph[name] - closed
            # A module is imported with the packages that it lies in.
            to_visit += {name.rpartition(".")[0]} & graph.keys()
    return seen


def only_for_docs(root: Path, modules: dict[str, Module]) -> list[str]:
    """Installed modules that neither a command nor a documented name of the API leads to."""
    installed = {name: module for name, module in modules.items() if module.room in ROOMS}
    graph = {name: imports_of(module, installed) for name, module in installed.items()}
    pages = [root / "README.md", *(root / "docs").glob("*.md")]
    words = "".join(page.read_text() for page in pages if page.exists())
    starts = {
        name
        for name, module in installed.items()
        if module.room == "genogate" or (name in words and module.path.name != "__init__.py")
    }
    return sorted(installed.keys() - reached(starts, graph, frozenset({WRITES_RESULTS})))


def measure(root: Path) -> dict[str, Any]:
    """All counts of the tree at `root` that reading it gives."""
    modules = modules_of(root)
    product = [module for module in modules.values() if module.room in ROOMS]
    graph = {module.name: imports_of(module, modules) for module in product}
    functions = [s for m in product for s in m.spans(ast.FunctionDef, ast.AsyncFunctionDef)]
    classes = [span for module in product for span in module.spans(ast.ClassDef)]
    docs_only = only_for_docs(root, modules)
    everything = modules.values()
    return {
        "rooms": {
            room: {
                "files": sum(module.room == room for module in everything),
                "lines": sum(module.lines for module in everything if module.room == room),
            }
            for room in (*ROOMS, *BESIDE)
        },
        "files": len(product),
        "lines": sum(module.lines for module in product),
        "median": statistics.median(module.lines for module in product if module.lines > 1),
        "over_300": [f"{m.name}: {m.lines}" for m in product if m.lines > LONG_FILE],
        "over_500": [f"{m.name}: {m.lines}" for m in product if m.lines > VERY_LONG_FILE],
        "functions_over_60": [f"{n}: {lines}" for n, lines in functions if lines > LONG_FUNCTION],
        "classes_over_250": [f"{n}: {lines}" for n, lines in classes if lines > LONG_CLASS],
        "circles": [", ".join(circle) for circle in circles_of(graph)],
        "arrows_against": arrows_against(modules),
        "fmt_skip": sum(m.text.count("# fmt: skip") for m in product),
        "vague_names": [f"{m.name}: {name}" for m in product for name in m.vague_names()],
        "only_for_docs": [f"{name}: {modules[name].lines}" for name in docs_only],
        "only_for_docs_lines": sum(modules[name].lines for name in docs_only),
    }

"""Count the modules, packages and imports of gantrain: `python tests/code_graph.py [CHECKOUT]`.

The depth is the number of imports on the longest chain from one module to another one. Imports
inside functions count as well. `tests/test_structure.py` checks the same graph.
"""

import ast
import graphlib
import sys
from pathlib import Path

# Each package imports only packages that stand below it here, and `core` imports none. Only entry
# points lie above all packages. A name may stand in one row with others that it does not import.
LAYERS = (
    ("cli",),
    ("bench",),
    ("training",),
    ("evaluation",),
    ("inference",),
    ("importers",),
    ("runs",),
    ("recipe",),
    ("methods",),
    ("metrics",),
    ("losses",),
    ("data", "networks"),
    ("core",),
)
ENTRY_POINTS = {"gantrain", "gantrain.__main__", "gantrain.api", "gantrain.train"}


def find_modules(root: Path) -> dict[str, Path]:
    """Return the file of each module of gantrain, by the module's dotted name."""
    modules = {}
    for path in (root / "gantrain").rglob("*.py"):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        modules[name.removesuffix(".__init__")] = path
    return modules


def imports(path: Path, modules: dict[str, Path]) -> set[str]:
    """Return the names of all modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            for alias in node.names:
                member = f"{node.module}.{alias.name}"
                names.add(member if member in modules else node.module)
    return names


def import_graph(modules: dict[str, Path]) -> dict[str, set[str]]:
    """Return, for each module, the modules of gantrain that it imports.

    The entry `gantrain` is left out: `gantrain/__init__.py` imports its names on first use.
    """
    graph = {}
    for name, path in modules.items():
        if name != "gantrain":
            graph[name] = (imports(path, modules) & modules.keys()) - {"gantrain"}
    return graph


def package_of(module: str) -> str:
    """Return the package directly below gantrain, or "" for gantrain's own modules."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 or module in _package_names() else ""


def _package_names() -> set[str]:
    return {f"gantrain.{name}" for layer in LAYERS for name in layer}


def level_of(package: str) -> int:
    """Return the number of the package's layer, counted from the top."""
    for number, layer in enumerate(LAYERS):
        if package in layer:
            return number
    raise ValueError(f"gantrain/{package} has no layer; give it one in {__file__}")


def depth(graph: dict[str, set[str]]) -> int:
    """Return the number of imports on the longest chain."""
    depths: dict[str, int] = {}
    for name in graphlib.TopologicalSorter(graph).static_order():
        depths[name] = max((depths[other] + 1 for other in graph.get(name, ())), default=0)
    return max(depths.values())


def main(root: Path) -> None:
    """Print the counts."""
    modules = find_modules(root)
    graph = import_graph(modules)
    rooms = {path.parent.relative_to(root).as_posix() for path in modules.values()}
    flat = [
        name for name in modules if name.count(".") == 1 and modules[name].name != "__init__.py"
    ]
    room_arrows = set()
    for name, others in graph.items():
        for other in others:
            ends = (modules[name].parent, modules[other].parent)
            if ends[0] != ends[1]:
                room_arrows.add(ends)
    print(f"modules: {len(modules)}, of them directly in gantrain/: {len(flat)}")
    print(f"folders: {len(rooms)}; imports between folders: {len(room_arrows)}")
    print(
        f"imports between modules: {sum(map(len, graph.values()))}; longest chain: {depth(graph)}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))

"""What keeps the repository simple: one-way imports, small files, whole recipes and packages."""

import ast
import graphlib
import importlib.metadata
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

from gantrain.recipe import schema

PACKAGE = ROOT / "gantrain"
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}

# Parts that know nothing of the ones that train.
BELOW = ("checkpoint", "component", "data", "ema", "losses", "meters", "method", "metrics")
BELOW = (*BELOW, "networks", "pool", "schedule", "weights")
ABOVE = {"api", "assembly", "cli", "engine", "inference", "recipe", "train", "trainer"}


def imports(path: Path) -> set[str]:
    """All that a file imports, inside functions too; of `from a import b` the module meant."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in full.values()}
    return found


def part(module: str) -> str:
    """`unet` of networks is of the part `networks`."""
    return [*module.split("."), ""][1]


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_imports_form_no_circle() -> None:
    graph = {
        name: {other for other in imports(path) if other in MODULES} - {"gantrain"}
        for name, path in MODULES.items()
        if name != "gantrain"  # its names are imported on first use
    }
    assert len(graph) > 40
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("folder", ["networks", "losses"])
def test_networks_and_losses_stand_alone(folder: str) -> None:
    files = sorted((PACKAGE / folder).glob("*.py"))
    assert files
    for file in files:
        for name in imports(file):
            ours = name.startswith(f"gantrain.{folder}") or name in (
                "gantrain.core.component",
                "gantrain.core.weight_files",
            )
            root = name.split(".")[0]
            others = root in {
                "torch",
                "torchvision",
                "timm",
                "numpy",
                "pydantic",
                "safetensors",
                *sys.stdlib_module_names,
            }
            assert ours or others, f"{file} imports {name}"


@pytest.mark.parametrize("name", sorted(n for n in MODULES if part(n) in BELOW))
def test_parts_below_know_none_above(name: str) -> None:
    known = {part(other) for other in imports(MODULES[name]) if other.startswith("gantrain")}
    assert known & (ABOVE | {"methods"}) == set()


@pytest.mark.parametrize("name", sorted(n for n in MODULES if part(n) == "methods"))
def test_methods_know_none_above(name: str) -> None:
    known = {part(other) for other in imports(MODULES[name]) if other.startswith("gantrain")}
    assert known & ABOVE == set()


def test_modules_bear_no_name_of_others() -> None:
    """Started by path, Python would take ours for theirs, or theirs for ours."""
    ours = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    installed = set(importlib.metadata.packages_distributions())
    assert "torch" in installed
    assert ours & (installed | set(sys.stdlib_module_names)) == set()


def test_a_network_alone_needs_no_trainer() -> None:
    code = "import sys; from gantrain.networks import UNet; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "gantrain.networks.unet" in loaded
    assert loaded & {"accelerate", "webdataset", "yaml", "gantrain.recipe.schema", "gantrain.methods.base"} == set()


def test_files_are_small() -> None:
    assert lines(PACKAGE / "train.py") < 60
    assert [str(path) for path in MODULES.values() if lines(path) > 300] == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_whole(path: Path) -> None:
    loaded = schema.load(str(path))
    assert loaded.name == path.stem
    assert loaded.description
    assert "\n" not in loaded.description
    if path.stem.endswith("_paper"):
        assert loaded.batch_size == 1
    else:
        assert loaded.batch_size % 8 == 0
    assert lines(path) <= 40


def test_the_package_holds_what_it_needs(tmp_path: Path) -> None:
    """The source archive, and the wheel built from the checkout."""
    pytest.importorskip("hatchling", reason="hatchling builds the package")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,), (archive,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    modules = {path.relative_to(ROOT).as_posix() for path in MODULES.values()}
    installed = {f"gantrain/_recipes/{path.name}" for path in RECIPES} | {"gantrain/recipe/peer_options.yaml"}
    launchers = [path for path in (ROOT / "launchers").rglob("*") if path.is_file()]
    installed |= {f"gantrain/_launchers/{path.relative_to(ROOT / 'launchers').as_posix()}" for path in launchers}
    assert len(launchers) > 8
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= modules | installed | {"gantrain/py.typed"}
    assert {n.split("/")[0].split("-")[0] for n in names} == {"gantrain"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    with tarfile.open(archive) as tar:
        inside = {name.split("/", 1)[1] for name in tar.getnames()}
    sources = {f"recipes/{path.name}" for path in RECIPES} | {"LICENSE", "README.md"}
    assert inside >= modules | sources | {"gantrain/py.typed", "tests/test_structure.py"}

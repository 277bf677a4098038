"""What keeps the repository simple: one-way imports, small files, whole recipes and packages."""

import ast
import graphlib
import importlib.metadata
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from code_graph import (
    ENTRY_POINTS,
    LAYERS,
    find_modules,
    import_graph,
    imports,
    level_of,
    package_of,
)
from conftest import RECIPE_FILES, ROOT

import gantrain
from gantrain import api
from gantrain.recipe import schema

PACKAGE = ROOT / "gantrain"
MODULES = find_modules(ROOT)
GRAPH = import_graph(MODULES)

# Files of one paper in several packages. Any other name stands for one thing.
SHARED_NAMES = {"__init__", "pix2pixhd", "spade", "survey"}


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_imports_form_no_circle() -> None:
    assert len(GRAPH) > 40
    graphlib.TopologicalSorter(GRAPH).prepare()


def test_only_entry_points_lie_in_the_package() -> None:
    assert {name for name in MODULES if package_of(name) == ""} == ENTRY_POINTS


def test_every_layer_is_a_package() -> None:
    packages = {package_of(name) for name in MODULES} - {""}
    layered = [name for layer in LAYERS for name in layer]
    assert sorted(layered) == sorted(packages)


@pytest.mark.parametrize("name", sorted(name for name in GRAPH if package_of(name)))
def test_packages_import_only_packages_below(name: str) -> None:
    package = package_of(name)
    for other in GRAPH[name]:
        imported = package_of(other)
        assert imported, f"{name} imports {other}, an entry point"
        if imported != package:
            assert level_of(imported) > level_of(package), (
                f"{name} imports {other}, which does not lie below"
            )


def test_one_name_stands_for_one_thing() -> None:
    counts = Counter(path.stem for path in MODULES.values())
    assert {name for name, count in counts.items() if count > 1} == SHARED_NAMES


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name
)
def test_packages_hold_tables_alone(path: Path) -> None:
    """`__init__.py` defines no function or class."""
    allowed = (
        ast.Expr,
        ast.Import,
        ast.ImportFrom,
        ast.Assign,
        ast.AnnAssign,
        ast.AugAssign,
        ast.If,
    )
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        assert isinstance(node, allowed), path


def test_public_names_are_those_of_the_table() -> None:
    assert sorted(gantrain.__all__) == sorted(api.MODULES)
    for name in gantrain.__all__:
        assert getattr(gantrain, name) is not None


# What losses share with networks.
NETWORKS_OF_LOSSES = ("gantrain.networks.backbone", "gantrain.networks.protocol")


@pytest.mark.parametrize("folder", ["networks", "losses"])
def test_networks_and_losses_stand_alone(folder: str) -> None:
    files = sorted((PACKAGE / folder).glob("*.py"))
    assert files
    for file in files:
        for name in imports(file, MODULES):
            ours = name.startswith(f"gantrain.{folder}") or name in (
                "gantrain.core.component",
                "gantrain.core.errors",
                "gantrain.core.weight_files",
                *(NETWORKS_OF_LOSSES if folder == "losses" else ()),
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
    assert (
        loaded
        & {"accelerate", "webdataset", "yaml", "gantrain.recipe.schema", "gantrain.methods.base"}
        == set()
    )


def test_files_are_small() -> None:
    assert lines(PACKAGE / "train.py") < 60
    assert [str(path) for path in MODULES.values() if lines(path) > 300] == []


@pytest.mark.parametrize("path", RECIPE_FILES, ids=lambda path: path.stem)
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
    installed = {f"gantrain/_recipes/{path.name}" for path in RECIPE_FILES} | {
        "gantrain/recipe/peer_options.yaml"
    }
    launchers = [path for path in (ROOT / "launchers").rglob("*") if path.is_file()]
    installed |= {
        f"gantrain/_launchers/{path.relative_to(ROOT / 'launchers').as_posix()}"
        for path in launchers
    }
    assert len(launchers) > 8
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= modules | installed | {"gantrain/py.typed"}
    assert {n.split("/")[0].split("-")[0] for n in names} == {"gantrain"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    with tarfile.open(archive) as tar:
        inside = {name.split("/", 1)[1] for name in tar.getnames()}
    sources = {f"recipes/{path.name}" for path in RECIPE_FILES} | {"LICENSE", "README.md"}
    assert inside >= modules | sources | {"gantrain/py.typed", "tests/test_structure.py"}

"""No code looks up by name what a network or a method can do: both state it, with defaults."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from code_graph import find_modules, package_of
from conftest import ROOT

from gantrain.methods import METHODS

MODULES = find_modules(ROOT)
# Methods check themselves. One module of networks/ reads the statements of plain modules.
LOOKING_UP = {"gantrain.networks.protocol"}

# The lookups on objects that are not gantrain's, by module: what is looked up.
FOREIGN = {
    "gantrain.cli.main": {"option_name"},  # errors of click
    "gantrain.core.component": {"__abstractmethods__"},  # any class
    "gantrain.core.component_schema": {"__qualname__"},  # any class
    "gantrain.core.extensions": {"__file__", "__spec__"},  # the main module
    "gantrain.core.own_code": {"__module__"},  # any class
    "gantrain.data.decode": {"is_animated"},  # Pillow
    "gantrain.data.download": {"data_filter"},  # tarfile
    "gantrain.data.kinds.image": {"dtype"},  # torch
    "gantrain.data.lossy": {"tag_v2"},  # Pillow
    "gantrain.data.pillow_pixels": {"tag_v2", "tile"},  # Pillow
    "gantrain.data.remote": {"errno", "status"},  # errors of servers
    "gantrain.inference.input_images": {"shape"},  # anything that a user gives as an image
    "gantrain.metrics.extractors": {  # timm, torchvision
        "attribute",
        "reset_classifier",
        "transform_input",
    },
    "gantrain.runs.trackers": {"log_images"},  # accelerate
}


def lookups(path: Path) -> Iterator[str]:
    """Yield what a file looks up by hasattr and getattr."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("hasattr", "getattr"):
            name = node.args[1]
            yield str(name.value) if isinstance(name, ast.Constant) else ast.unparse(name)


def test_lookups_are_of_foreign_objects_alone() -> None:
    by_module: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        if package_of(name) != "methods" and name not in LOOKING_UP:
            by_module[name] = set(lookups(path))
    unknown = {name: of_module - FOREIGN.get(name, set()) for name, of_module in by_module.items()}
    assert {name: values for name, values in unknown.items() if values} == {}
    stale = {name: values - by_module.get(name, set()) for name, values in FOREIGN.items()}
    assert {name: values for name, values in stale.items() if values} == {}


def test_the_lookups_of_the_protocol_are_few() -> None:
    for name in LOOKING_UP:
        assert list(lookups(MODULES[name])) == ["name"]


def texts(path: Path) -> set[str]:
    """Return the texts in a file's code, without docstrings of several words."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def subscripts(path: Path) -> Iterator[str]:
    """Yield the networks that a file takes by a name of its own: `networks["generator"]`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Constant):
            continue
        if ast.unparse(node.value).split(".")[-1] == "networks":
            yield ast.unparse(node)


OUTSIDE_METHODS = sorted(name for name in MODULES if package_of(name) != "methods")


def test_only_methods_know_their_networks_names() -> None:
    reverse = {name for cls in METHODS.values() for name in cls.roles}
    assert reverse == {"generator_back", "discriminator_source"}
    for name in OUTSIDE_METHODS:
        assert texts(MODULES[name]) & reverse == set(), name
        assert list(subscripts(MODULES[name])) == [], name


@pytest.mark.parametrize("name", sorted(n for n in MODULES if package_of(n) == "methods"))
def test_methods_know_the_names_of_their_own_networks(name: str) -> None:
    """The test above finds what it looks for."""
    papers = {f"gantrain.methods.{paper}" for paper in METHODS} - {"gantrain.methods.survey"}
    assert bool(list(subscripts(MODULES[name]))) == (name in papers)

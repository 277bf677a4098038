"""The documentation site: what its pages generate from the code is complete, and the built pages stand alone."""

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import documents
import pytest
from conftest import ROOT

from gantrain import api
from gantrain.data.degradations.degradation_table import DEGRADATIONS
from gantrain.losses import ADVERSARIAL, PENALTIES, PERCEPTUAL, RECONSTRUCTION
from gantrain.methods import METHODS
from gantrain.networks import NETWORKS
from gantrain.recipe.schema import Recipe

COMPONENTS = {
    **METHODS,
    **NETWORKS,
    **ADVERSARIAL,
    **PENALTIES,
    **PERCEPTUAL,
    **RECONSTRUCTION,
    **DEGRADATIONS,
}
LARGEST_PICTURE = 200_000  # bytes


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/recipe_reference.py, which needs no Sphinx."""
    spec = importlib.util.spec_from_file_location(
        "recipe_reference", ROOT / "docs/recipe_reference.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def keys_page(reference: ModuleType) -> str:
    return str(reference.fill_placeholders(documents.text("docs/keys.md")))


def keys_of(model: Any, prefix: str = "") -> list[str]:
    """The dotted keys of a model and of the models inside it."""
    keys = []
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            keys += keys_of(field.annotation, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def test_every_key_has_a_row(keys_page: str) -> None:
    keys = [key for key in keys_of(Recipe) if key != "name"]  # the name is that of the file
    assert len(keys) > 60
    missing = [key for key in keys if f"| `{key}` |" not in keys_page]
    assert missing == []


def test_every_component_has_its_options(keys_page: str) -> None:
    for name, component in COMPONENTS.items():
        assert re.search(rf"^### .*`{name}`", keys_page, re.M), name
        for option, parameter in inspect.signature(component).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY:
                assert f"| `{option}` |" in keys_page, (name, option)


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_option_has_a_meaning(name: str, reference: ModuleType) -> None:
    cls = COMPONENTS[name]
    options = [
        parameter.name
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    meanings = reference.split_docstring(cls)[1]
    assert sorted(meanings) == sorted(options)


def test_the_shared_options_are_options(keys_page: str) -> None:
    """The table of options that mean the same in all networks is written by hand."""
    section = documents.text("docs/keys.md").split("## Generators")[1].split("<!--")[0]
    names = re.findall(r"^\| `(\w+)` \|", section, re.M)
    assert len(names) > 5
    known = {
        option for network in NETWORKS.values() for option in inspect.signature(network).parameters
    }
    assert set(names) <= known


def test_no_placeholder_is_left(reference: ModuleType) -> None:
    filled = 0
    for page in documents.PAGES:
        text = documents.text(page)
        filled += len(reference.PLACEHOLDER.findall(text))
        assert "<!-- generated" not in reference.fill_placeholders(text), page
    assert filled > 20


def test_links_of_generated_text_begin_in_the_page_s_folder(reference: ModuleType) -> None:
    filled = reference.fill_placeholders("<!-- generated: keys recipe -->", "../")
    assert "](../keys.md#lengths)" in filled
    assert "](keys.md" not in filled


def test_a_section_of_arguments_fills_the_column_of_meanings(reference: ModuleType) -> None:
    class Documented:
        """A network of arXiv 1611.07004.

        Args:
            width: The number of channels of
                the first layer.
            depth: The number of layers.

        Raises:
            ValueError: The width is odd.
        """

        def __init__(self, *, width: int = 4, depth: int = 2, other: bool = False) -> None: ...

    text = reference.docstring(Documented)
    assert text == "A network of [arXiv 1611.07004](https://arxiv.org/abs/1611.07004)."
    rows = reference.options_table(Documented)
    assert "| `width` | integer | `4` | The number of channels of the first layer. |" in rows
    assert "| `depth` | integer | `2` | The number of layers. |" in rows
    assert "| `other` | `true` or `false` | `false` |  |" in rows


def test_every_method_has_a_page() -> None:
    index = documents.text("docs/methods/index.md")
    for name in METHODS:
        page = documents.text(f"docs/methods/{name}.md")
        assert f"[`{name}`]({name}.md)" in index
        assert "```{image}" in page
        assert "## What differs" in page
        assert f"<!-- generated: recipes {name} -->" in page
        assert f"<!-- generated: method {name} -->" in page


def test_every_public_name_is_documented() -> None:
    page = documents.text("docs/api.md")
    missing = [name for name in api.MODULES if not re.search(rf"\b{name}\b", page)]
    assert missing == []


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {"docs/index.md"}
    for page in documents.PAGES:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```$", documents.text(page), re.M | re.S):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {(Path(page).parent / f"{entry}.md").as_posix() for entry in entries}
    assert set(documents.PAGES) - listed == set()


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs").rglob("*.png"))
    assert len(pictures) > 3
    assert [path.name for path in pictures if path.stat().st_size > LARGEST_PICTURE] == []


@pytest.mark.slow
def test_the_built_pages_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the extra [docs] is not installed")
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        str(ROOT / "docs"),
        str(tmp_path),
    ]
    done = subprocess.run(build, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(documents.PAGES)
    for page in pages:
        html = page.read_text()
        assert (
            re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=[\"'](?:https?:)?//[^\"']*", html) == []
        ), page.name
        assert re.findall(r"<link[^>]*\shref=[\"'](?:https?:)?//[^\"']*", html) == [], page.name
    for sheet in tmp_path.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import\s)\s*[\"']?(?:https?:)?//", sheet.read_text()) == [], (
            sheet.name
        )

"""Reading recipe files and applying `a.b.c=value` overrides; nothing here executes code."""

import difflib
import os
import re
import shlex
from collections.abc import Container, Iterable
from pathlib import Path

from gantrain.core.error_messages import one_line, with_allowed
from gantrain.core.errors import UserError
from gantrain.core.formats import RUN, check_format
from gantrain.core.paths import check_not_special, check_regular_file
from gantrain.core.weighted import lay_term
from gantrain.core.yaml12 import MAX_DEPTH, parse_yaml, read_mapping
from gantrain.recipe.slips import check_blanks

PACKAGE = Path(__file__).resolve().parents[1]
MAX_EXTENDS = 20  # files that extend one another
_LONGEST = 500  # characters of a key, or of a path in an error
# What other tools call `extends`.
_PARENT_WORDS = ("extend", "inherit", "inherits", "base", "_base_", "parent", "defaults")

# What `data=synthetic` sets: all that the recipe says of where its data lie.
_SYNTHETIC = {
    "train": "synthetic",
    "train_target": None,
    "validation": "synthetic",
    "validation_target": None,
    "test": None,
    "test_target": None,
}


def available(*first: Path) -> dict[str, Path]:
    """Return the files of all recipes by name.

    They are those of the folders `first`, of the working folder, and of the installation or clone.
    Of several recipes with one name, that of the first of these folders counts.
    """
    folders = [*first, Path("recipes"), PACKAGE / "_recipes", PACKAGE.parent / "recipes"]
    recipes: dict[str, Path] = {}
    for folder in reversed(folders):
        for path in folder.glob("*.yaml"):
            recipes[path.stem] = path
    return dict(sorted(recipes.items()))


def find(name: str, beside: Path | None = None) -> Path:
    """Return the file of a recipe that is given by name or path.

    beside: the recipe that extends it. Raises UserError.
    """
    key = "recipe"
    near: list[Path] = []
    if beside:
        key = f"{beside}: extends"
        near = [beside.parent]
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(*near, name)
        check_not_special(path, key)
        if not os.path.isfile(path):  # unlike Path.is_file, it takes a name that is too long
            missing = one_line(str(path), _LONGEST)
            hint = _similar(path, key, near)
            raise UserError(
                f"{key}: no file {missing}; {hint}give a .yaml file or a name from `gantrain"
                " recipes`"
            )
        return path
    known = available(*near)
    if name not in known:
        suggestion = _did_you_mean(key, difflib.get_close_matches(name, known, 3)).strip()
        advice = with_allowed(suggestion, list(known), ", or a path to a .yaml file")
        raise UserError(f"{key}: found '{one_line(name)}', {advice}")
    return known[name]


def _similar(path: Path, key: str, near: list[Path]) -> str:
    """Return a suggestion for a recipe's file that is not there; empty where nothing is similar."""
    if os.path.isfile(path / "recipe.yaml"):  # a run's folder
        return _did_you_mean(key, [str(path / "recipe.yaml")])
    if not os.path.isdir(path.parent):
        return ""
    beside = [file.name for file in path.parent.iterdir() if file.suffix in (".yaml", ".yml")]
    files = [str(path.parent / name) for name in difflib.get_close_matches(path.name, beside, 3)]
    shipped = [path.stem] if path.stem in available(*near) else []
    return _did_you_mean(key, shipped + files)


def _did_you_mean(key: str, names: list[str]) -> str:
    """Suggest recipes, as `recipe=NAME` for a command line or `extends: NAME` for a file."""
    assignment = "recipe=" if key == "recipe" else "extends: "
    shown = " or ".join(f"{assignment}{one_line(name, _LONGEST)}" for name in names)
    return f"did you mean {shown}? " if names else ""


def merge(base: dict[str, object], over: dict[str, object]) -> dict[str, object]:
    """Return the recipe `over` laid on the recipe `base`.

    Only `method` holds components. A mapping elsewhere that has a `name`, such as `optimizer`,
    keeps its other keys when its name changes, and so does the recipe itself.
    """
    merged = dict(base)
    for key, value in over.items():
        if key not in base:
            merged[key] = value
        else:
            merged[key] = _merge_values(base[key], value, is_component=key == "method")
    return merged


def _merge_values(base: object, over: object, *, is_component: bool) -> object:
    """Return `over` laid on `base`; an empty mapping replaces.

    is_component: both are components or lie inside one. A component whose name changes loses the
    old one's options, and a bare name is equal to `{name: ...}`.
    """
    if is_component and isinstance(base, str) and isinstance(over, dict) and over:
        base = {"name": base}
    over = _with_name(base, over)
    if not (isinstance(base, dict) and isinstance(over, dict)) or not over:
        return over
    is_renamed = "name" in over and "name" in base and over["name"] != base["name"]
    if is_component and is_renamed:
        return over
    merged = dict(base)
    for key, value in over.items():
        if key in base and key == "losses" and is_component:
            merged[key] = _merge_losses(base[key], value)
        elif key in base:
            merged[key] = _merge_values(base[key], value, is_component=is_component)
        else:
            merged[key] = value
    return merged


def _merge_losses(base: object, over: object) -> object:
    """Return weighted losses laid on others: a bare weight keeps the other options of its loss."""
    if not isinstance(base, dict) or not isinstance(over, dict) or not over:
        return over
    merged = dict(base)
    for name, term in over.items():
        merged[name] = _merge_term(base[name], term) if name in base else term
    return merged


def _merge_term(base: object, over: object) -> object:
    """Return a loss laid on another. Components in the options are merged as elsewhere."""
    merged = lay_term(base, over)
    if not isinstance(base, dict) or not isinstance(over, dict) or not isinstance(merged, dict):
        return merged
    for key, value in over.items():
        if key in base and key != "weight":  # a schedule replaces another one as a whole
            merged[key] = _merge_values(base[key], value, is_component=True)
    return merged


def _with_name(base: object, over: object) -> object:
    """Return a bare name as `{name: ...}` where `base` is a mapping with a name."""
    if isinstance(base, dict) and "name" in base and isinstance(over, str):
        return {"name": over}
    return over


def read(name: str, beside: Path | None = None, seen: tuple[Path, ...] = ()) -> dict[str, object]:
    """Return a recipe file's content, laid on the recipe that it extends.

    beside: the recipe that extends this one. seen: the files that lead here. Raises UserError.
    """
    path = check_regular_file(find(name, beside), "recipe")
    if path.resolve() in seen:
        raise UserError(f"{path}: extends itself; remove `extends` from one of the files")
    if len(seen) >= MAX_EXTENDS:
        raise UserError(
            f"{path}: extends: found more than {MAX_EXTENDS} files that extend one another; join"
            " some"
        )
    content = read_mapping(path)
    check_blanks(content, str(path))
    if "format" in content:  # a run's recipe.yaml, which is a recipe as well
        check_format(path, content, RUN, "remove the line `format`, and check its keys")
        content = _of_run(path, content, is_parent=beside is not None)
    for key in content:
        if key != "extends" and _means_extends(str(key)):
            raise UserError(f"{path}: {one_line(str(key))}: unknown key; did you mean extends?")
    own_name = content.get("name", path.stem)  # a saved recipe states its name
    parent = content.pop("extends", None)
    if not isinstance(parent, str | None):
        raise UserError(
            f"{path}: extends: found {one_line(repr(parent))}, allowed: one recipe's name or path"
        )
    if parent is not None:
        inherited = read(parent, path, (*seen, path.resolve())) | {"description": ""}
        content = merge(inherited, content)
    return {**content, "name": own_name}


def _means_extends(key: str) -> bool:
    return key in _PARENT_WORDS or bool(difflib.get_close_matches(key, ["extends"], 1, 0.8))


def _of_run(path: Path, content: dict[str, object], is_parent: bool) -> dict[str, object]:
    """Return the recipe that a run saved, which resumes that run, also in a renamed folder.

    is_parent: another recipe extends it, and has a run of its own.
    """
    recipe = {key: value for key, value in content.items() if key != "format"}
    folder = path.resolve().parent
    if is_parent:
        recipe.pop("run", None)
    elif folder.parent == Path("runs").resolve():
        recipe["run"] = folder.name
    return recipe


def _has(content: object, key: str) -> bool:
    """Return whether a recipe's content has a dotted key."""
    for part in key.split("."):
        if not isinstance(content, dict) or part not in content:
            return False
        content = content[part]
    return True


def apply(
    content: dict[str, object], overrides: Iterable[str], texts: Container[str] = ()
) -> dict[str, object]:
    """Return `content` with each `a.b.c=value` set.

    `data=X` is short for `data.train=X`; `data=synthetic` makes all data synthetic. texts: keys
    that take text, whose value is what was typed even where YAML has a number there, as in
    `run=010`. Raises UserError with one line for each problem.
    """
    problems = []
    # `data=` comes first, since other keys of data add to it.
    for override in sorted(overrides, key=lambda text: not text.startswith("data=")):
        try:
            key, value = _assignment(override, texts)
        except ValueError as e:
            problems.append(str(e))
            continue
        stages = content.get("stages")
        if isinstance(stages, list) and stages and all(_has(stage, key) for stage in stages):
            text = one_line(override.partition("=")[2])
            problem = f"found {text}, which has no effect, since each stage sets its own"
            problems.append(f"{key}: {problem}; change stages")
        if key == "data.train" and value == "synthetic" and override.startswith("data="):
            content = merge(content, {"data": _SYNTHETIC})
        *outer_parts, last_part = _split_key(key)
        change: dict[str, object] = {last_part: value}
        for part in reversed(outer_parts):
            change = {part: change}
        content = merge(content, change)
    if problems:
        raise UserError("\n".join(problems))
    return content


def _split_key(key: str) -> list[str]:
    """Split a dotted key; the name of a parameter behind `.lr_factors.` keeps its dots."""
    section, _, parameter = key.partition(".lr_factors.")
    if parameter:
        return [*section.split("."), "lr_factors", parameter]
    return key.split(".")


def _assignment(override: str, texts: Container[str]) -> tuple[str, object]:
    """Return the key and the value of `a.b.c=value`. Raises UserError, in one line."""
    key, equals, text = override.partition("=")
    if key == "name" and equals:
        run = shlex.quote(f"run={text}")
        raise UserError(
            f"name: found {text!r:.100}, a recipe's name is that of its file; did you mean"
            f" {run:.100}?"
        )
    is_key = (
        re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", key)
        and key.count(".") < MAX_DEPTH
        and len(key) <= _LONGEST
    )
    if not equals or not is_key:
        hint = ""
        if equals and "-" in key and re.fullmatch(r"[A-Za-z][\w.-]*", key):
            words = shlex.quote(f"{key.replace('-', '_')}={text}")
            hint = f"; did you mean {words:.100}?"
        raise UserError(f"found {override!r:.100}, allowed: key=value or a.b.c=value{hint}")
    value = parse_yaml(text, key)
    check_blanks(value, key, text)
    if key == "data" and isinstance(value, str | bool | int | float):
        key = "data.train"
    if key in texts and isinstance(value, bool | int | float):
        value = text.strip()
    return key, value

"""Reading recipe files and applying `a.b.c=value` overrides; nothing here executes code."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from gantrain.formats import RUN, check_format
from gantrain.paths import check_not_special, check_regular_file

PACKAGE = Path(__file__).resolve().parent


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-4` as a number, as YAML 1.2 does, and refuses a repeated key."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *base`, which a key may override
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} appears twice", problem_mark=key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str, where: str) -> Any:
    """The content of a YAML text; `where` names it in errors. Raises ValueError, in one line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as e:
        mark, what = e.problem_mark or e.context_mark, e.problem or e.context
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as e:
        place, what = "", " ".join(str(e).split())
    raise ValueError(f"{where}: not valid YAML: {place}{what}")


def available(*first: Path) -> dict[str, Path]:
    """All recipes by name: of the folders `first`, the working one, the installed (or cloned)."""
    folders = [*first, Path("recipes"), PACKAGE / "_recipes", PACKAGE.parent / "recipes"]
    found = {path.stem: path for folder in reversed(folders) for path in folder.glob("*.yaml")}
    return dict(sorted(found.items()))


def find(name: str, beside: Path | None = None) -> Path:
    """The file of a recipe given by name or path; `beside` is the recipe that extends it."""
    key, near = (f"{beside}: extends", [beside.parent]) if beside else ("recipe", [])
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(*near, name)
        check_not_special(path, key)
        if not path.is_file():
            raise ValueError(f"{key}: no file {path}; give a .yaml file or a name from `gantrain recipes`")
        return path
    known = available(*near)
    if name not in known:
        raise ValueError(f"{key}: found {name!r}, allowed: {', '.join(known)}, or a path to a .yaml file")
    return known[name]


def merge(base: Any, over: Any) -> Any:
    """`over` laid on `base`; a component whose name changes loses the old one's options.

    A bare name and `{name: ...}` say the same; an empty mapping replaces.
    """
    if isinstance(base, str) and isinstance(over, dict) and over:
        base = {"name": base}
    if isinstance(base, dict) and isinstance(over, str) and "name" in base:
        over = {"name": over}
    if not (isinstance(base, dict) and isinstance(over, dict)) or not over:
        return over
    if "name" in over and "name" in base and over["name"] != base["name"]:
        return over
    return {**base, **{k: merge(base[k], v) if k in base else v for k, v in over.items()}}


def read(name: str, beside: Path | None = None, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe file's content, laid on what it extends."""
    path = check_regular_file(find(name, beside), "recipe")
    if path.resolve() in seen:
        raise ValueError(f"{path}: extends itself; remove `extends` from one of the files")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ValueError(f"{path}: cannot be read as text: {e}") from None
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        found = {list: "a list", type(None): "nothing"}.get(type(content), repr(content))
        raise ValueError(f"{path}: found {found}, allowed: a mapping `key: value`")
    if "format" in content:  # a run's recipe.yaml, which is a recipe as well
        check_format(path, content, RUN, "remove the line `format`, and check its keys")
        del content["format"]
    parent = content.pop("extends", None)
    if not isinstance(parent, str | None):
        raise ValueError(f"{path}: extends: found {parent!r}, allowed: one recipe's name or path")
    if parent is not None:
        inherited = read(parent, path, (*seen, path.resolve())) | {"description": ""}
        content = merge(inherited, content)
    return {**content, "name": path.stem}


def _has(content: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(content, dict) or part not in content:
            return False
        content = content[part]
    return True


def apply(content: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`content` with each `a.b.c=value` set. `data=X` is short for `data.train=X`."""
    problems = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", key):
            problems.append(f"found {override!r}, allowed: key=value or a.b.c=value")
            continue
        try:
            value = parse_yaml(text, key)
        except ValueError as e:
            problems.append(str(e))
            continue
        key = "data.train" if key == "data" and isinstance(value, str) else key
        stages = content.get("stages")
        if isinstance(stages, list) and stages and all(_has(stage, key) for stage in stages):
            problems.append(f"{key}: found {text}, which no stage would hear, since each sets its own; change stages")
        before, _, name = key.partition(".lr_factors.")  # behind which a name's dots are its own
        for part in reversed([*before.split("."), "lr_factors", name] if name else key.split(".")):
            value = {part: value}
        content = merge(content, value)
    if problems:
        raise ValueError("\n".join(problems))
    return content

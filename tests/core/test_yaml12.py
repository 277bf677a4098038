"""YAML as YAML 1.2's core schema has it, within bounds; what is written reads back the same."""

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import RECIPE_NAMES

from gantrain.core.yaml12 import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    dump_yaml,
    parse_yaml,
    read_mapping,
)
from gantrain.recipe import schema

VALUES: dict[str, Any] = {
    "010": 10,
    "-010": -10,
    "0o17": 15,
    "0x1F": 31,
    "1_000": "1_000",
    "1:30": "1:30",
    "0b11": "0b11",
    "1e-4": 1e-4,
    "1e5": 1e5,
    ".5": 0.5,
    "5.": 5.0,
    "+.inf": math.inf,
    "2026-11-28": "2026-11-28",
    "yes": "yes",
    "Off": "Off",
    "y": "y",
    "TRUE": True,
    "false": False,
    "~": None,
    "NULL": None,
    "": None,
    "=": "=",
    "a: <<": {"a": "<<"},
    "[064, 064]": [64, 64],
    "!!str 010": "010",
    "'010'": "010",
    "{0: 1, 20000: 2}": {0: 1, 20000: 2},
    "a: &a {x: 1}\nb: {<<: *a, y: 2}": {"a": {"x": 1}, "b": {"x": 1, "y": 2}},
    "a: &a {x: 1}\nb: {<<: *a, x: 2}": {"a": {"x": 1}, "b": {"x": 2}},
    "a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc: {<<: [*a, *b], y: 2}": {
        "a": {"x": 1},
        "b": {"x": 2, "z": 3},
        "c": {"x": 1, "y": 2, "z": 3},
    },
    "{<<: {a: 1}}": {"a": 1},
    "a: &a {x: 1}\nb: {c: &c {<<: *a, x: 2}}\nd: {<<: *c}": {
        "a": {"x": 1},
        "b": {"c": {"x": 2}},
        "d": {"x": 2},
    },
}


@pytest.mark.parametrize("text", VALUES)
def test_values_are_those_of_the_core_schema(text: str) -> None:
    value = parse_yaml(text, "here")
    assert value == VALUES[text]
    assert type(value) is type(VALUES[text])


def bomb(levels: int, each: int) -> str:
    """Lists of aliases to lists: each ** levels values in a short text."""
    lines = ["a0: &a0 [x]"]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * each)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    return "\n".join(lines)


def merging_bomb(levels: int, each: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * each)
        lines.append(f"a{level}: &a{level} {{<<: [{aliases}]}}")
    return "\n".join(lines)


REFUSED = {
    "anchor bomb": (bomb(9, 9), f"more than {MAX_NODES:,} values"),
    "longer anchor bomb": (bomb(17, 9), f"more than {MAX_NODES:,} values"),
    "bomb of merges": (merging_bomb(20, 9), f"more than {MAX_NODES:,} values"),
    "alias of itself": ("&a [*a]", "the alias *a stands inside its own anchor"),
    "alias of nothing": ("*a", "undefined alias 'a'"),
    "many values": ("[" + "1," * MAX_NODES + "]", f"more than {MAX_NODES:,} values"),
    "deep lists": ("[" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels"),
    "deep mappings": ("{a: " * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels"),
    "very deep blocks": ("- " * 400_000, f"more than {MAX_DEPTH} levels"),
    "long": ("#" * (MAX_BYTES + 1), "found 1,000,001 characters, allowed: 1,000,000"),
    "key twice": ("{a: 1, a: 2}", "line 1, column 8: key 'a' appears twice"),
    "number twice as key": ("{1: 1, 0x1: 2}", "key 1 appears twice"),
    "merge twice": ("{<<: {a: 1}, <<: {b: 1}}", "key '<<' appears twice"),
    "merge of a number": (
        "{<<: 5}",
        "found a value behind <<, allowed: a mapping, or a list of mappings",
    ),
    "null as key": ("{~: 1}", "found a key of the type null, allowed: text or a whole number"),
    "truth as key": ("{true: 1}", "found a key of the type bool"),
    "list as key": ("? [1]\n: 2", "found a key of the type seq"),
    "python": (
        "!!python/object/apply:os.getpid []",
        "found the tag !!python/object/apply:os.getpid",
    ),
    "binary": ("!!binary aGk=", "found the tag !!binary"),
    "timestamp": ("!!timestamp 2026-11-28", "found the tag !!timestamp"),
    "set": ("!!set {a, b}", "found the tag !!set"),
    "own tag": ("!mine 1", "found the tag !mine"),
    "number that is none": ("!!int x", "found !!int before 'x'"),
    "huge number": ("9" * 400, "found a whole number of 400 digits, allowed: 40 at most"),
    "huger number": ("9" * 5000, "found a whole number of 5000 digits"),
    "huge fraction": ("1e400", "past the largest number"),
    "documents": (
        "--- 1\n--- 2",
        "expected a single document in the stream but found another document",
    ),
    "YAML 1.1": ("%YAML 1.1\n--- 1", "found %YAML 1.1, allowed: YAML 1.2"),
    "control character": ("a\x1b[2J", "line 1, column 2: found the control character U+001B"),
    "written control character": ('"\\0"', "found the control character U+0000"),
    "half of a character": ('"\\ud800"', "found the control character U+D800"),
    "byte order mark": ("\ufeffa: 1", "found a byte order mark"),
    "no YAML": ("a: b: c", "not valid YAML: line 1, column 5"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_hang_or_execute_is_refused_at_once(name: str) -> None:
    text, says = REFUSED[name]
    before = time.process_time()
    with pytest.raises(ValueError, match=r"^here: ") as refused:
        parse_yaml(text, "here")
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 400
    assert time.process_time() - before < 5


def test_a_bomb_is_small() -> None:
    assert len(bomb(17, 9)) < 1000


def test_files_are_bounded_before_they_are_read() -> None:
    with Path("large.yaml").open("wb") as file:
        file.truncate(2**40)  # sparse: to read it would fill the memory
    with pytest.raises(
        ValueError, match=r"large.yaml: found 1,099,511,627,776 bytes, allowed: 1,000,000"
    ):
        read_mapping(Path("large.yaml"))
    os.mkfifo("pipe.yaml")
    with pytest.raises(ValueError, match=r"pipe.yaml: found no ordinary file"):
        read_mapping(Path("pipe.yaml"))
    Path("wide.yaml").write_text("a: 1", encoding="utf-16")
    with pytest.raises(ValueError, match=r"wide.yaml: cannot be read as text .*; save it as UTF-8"):
        read_mapping(Path("wide.yaml"))
    with pytest.raises(
        ValueError, match=r"none.yaml: cannot be read \(No such file or directory\)"
    ):
        read_mapping(Path("none.yaml"))


def test_a_recipe_that_comes_with_a_bomb_is_refused() -> None:
    Path("bomb.yaml").write_text(bomb(17, 9))
    with pytest.raises(
        ValueError, match=r"^bomb.yaml: line \d+, column \d+: found more than 10,000 values"
    ):
        schema.load("./bomb.yaml")


def test_files_that_extend_one_another_are_bounded() -> None:
    for number in range(30):
        Path(f"r{number}.yaml").write_text(f"extends: ./r{number + 1}.yaml")
    with pytest.raises(
        ValueError, match="extends: found more than 20 files that extend one another"
    ):
        schema.load("./r0.yaml")


# Texts that a reader of YAML 1.1 or 1.2 would take for something else, were they not quoted.
TEXTS = (
    "010", "0o7", "0x1f", "0b1", "1_000", "1:30", "1:30.5", "2026-11-28", "2026-11-28 10:00:00", "1e5", "1e-05",
    "1.5", ".5", "5.", "+1", "-1", ".inf", "-.INF", ".nan", "~", "null", "Null", "", "yes", "No", "on", "OFF", "y", "N",
    "true", "False", "<<", "=", "-", "?", "a: b", "a #b", "#a", "&a", "*a", "!a", "%a", "@a", "`a", "[a", "{a", "'",
    '"', " a", "a ", "a\nb", "a\tb", "\u2028", "ß", "日本", "\U0001f600", "x" * 300, "x " * 100,
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_written_so_that_they_stay_texts(text: str) -> None:
    content = {text: text, "list": [text, text], "nested": {"a": {"b": text}}}
    written = dump_yaml(content)
    assert parse_yaml(written, "here") == content
    assert yaml.safe_load(written) == content, "other tools read YAML 1.1"


@pytest.mark.parametrize(
    "number", [0, -1, 10, 2**62, 1e-05, 1e-300, 1e22, 1e16, 0.1, 100.0, -0.0, math.inf, -math.inf]
)
def test_numbers_are_written_so_that_they_stay_the_same(number: float) -> None:
    written = dump_yaml({"a": number})
    for content in (parse_yaml(written, "here"), yaml.safe_load(written)):
        assert content == {"a": number}
        assert type(content["a"]) is type(number)
        assert math.copysign(1, content["a"]) == math.copysign(1, number)


def equal_types(left: Any, right: Any) -> bool:
    """Whether values are equal down to their types: 1, 1.0 and true are not."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(
            equal_types(value, right[key]) for key, value in left.items()
        )
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal_types, left, right))
    return bool(left == right)


SAVED = {
    "octal": ("run=010", "batch_size=010"),
    "date": ("run=2026-11-28",),
    "underscore": ("run=1_000",),
    "fraction": ("run=1e5", "optimizer.eps=1e-05"),
    "truth": ("run=true", "description=no"),
    "nothing": ("run='null'",),
    "hexadecimal": ("run=0x1f", "data.train=0o17"),
    "time": ("run=1:30",),
}


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_shipped_recipes_read_back_the_same(name: str) -> None:
    loaded = schema.load(name)
    for content in (parse_yaml(loaded.yaml(), "here"), yaml.safe_load(loaded.yaml())):
        assert equal_types(content, loaded.dump())


@pytest.mark.parametrize("name", SAVED)
def test_saved_recipes_read_back_the_same(name: str) -> None:
    words = SAVED[name]
    loaded = schema.load("quickstart", words)
    assert loaded.run == words[0].removeprefix("run=").strip("'")
    assert equal_types(parse_yaml(loaded.yaml(), "here"), loaded.dump())
    assert equal_types(yaml.safe_load(loaded.yaml()), loaded.dump())
    assert schema.from_dict(parse_yaml(loaded.yaml(), "here")) == loaded


def test_names_of_any_script_are_paths() -> None:
    """With the spaces and joiners that their scripts have."""
    words = ("run=写真\u3000一", "data.train=क्\u200dष/\u00a0b")
    loaded = schema.load("quickstart", words)
    assert loaded.run == "写真\u3000一"
    assert loaded.data.train == "क्\u200dष/\u00a0b"
    assert equal_types(parse_yaml(loaded.yaml(), "here"), loaded.dump())


def test_overrides_are_read_by_the_core_schema() -> None:
    words = ("batch_size=010", "data.size=[064,064]", "run=010", "data.train=2026", "length=0x10")
    loaded = schema.load("quickstart", words)
    assert loaded.batch_size == 10
    assert loaded.data.size == (64, 64)
    assert loaded.run == "010", "a key that takes text gets what was typed"
    assert loaded.data.train == "2026"
    assert loaded.length == 16


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("length=1:30", "length: found '1:30', allowed: a whole number of images"),
        ("seed=1_000", "seed: found '1_000', allowed: a valid integer"),
        ("batch_size=1_000", "batch_size: found '1_000', allowed: a valid integer"),
        ("data.flip=yes", "data.flip: found 'yes', allowed: true, false"),
        ("method.vgh.weights=010", "method.vgh: unknown key"),
        (
            "freeze=[010]",
            "freeze.0: found 10, allowed: text; a number that is text stands in quotes",
        ),
        ("length=" + "9" * 400, "length: line 1, column 1: found a whole number of 400 digits"),
        ("run=" + "\U0001f600" * 51, "since it names the folder runs/NAME, with at most 200 bytes"),
        ('run="a\\tb"', "run: found 'a\\tb', allowed: a plain name"),
        ("data.train=" + "a/" * 2001, "data.train: found 'a/a/"),
        (
            "data.validation=" + "x" * 256,
            "allowed: a path or URL of one line, with names of at most 255 bytes",
        ),
        ('init_from="a\\nb"', "init_from: found 'a\\nb', allowed: a path or URL of one line"),
        ("a." * 200 + "a=1", "allowed: key=value or a.b.c=value"),
    ],
)
def test_overrides_are_refused_in_a_line(word: str, says: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        schema.load("quickstart", [word])
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1

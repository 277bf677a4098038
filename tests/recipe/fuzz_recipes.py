"""Recipes and overrides as chance makes them: each case is a function of its number alone."""

import functools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import RECIPE_NAMES, ROOT

from gantrain.core.yaml12 import parse_yaml
from gantrain.methods import METHODS
from gantrain.networks import NETWORKS
from gantrain.recipe import schema

FILE = "case.yaml"

# What may stand for a value, as YAML has it.
TEXTS = (
    "", "~", "null", "true", "yes", "010", "0o17", "0x1f", "1_000", "1:30", "2026-11-28", "1e-4", "1e400", ".inf",
    "-.inf", ".nan", "-1", "0", "1", "2", "7", "0.5", "1e300", "-1e300", "9" * 20, "9" * 400, "-" + "9" * 40,
    "5 epochs", "1e9 epochs", "9" * 400 + " epochs", "0 epochs", "-1 images", "auto", "text", "unet", "patchgan",
    "projected", "pretrained_unet", "spade", "cyclegan", "synthetic", "/no/such", "../x", "/dev/zero", "~/x",
    "~nobody/x",
    "x" * 5000, "a/" * 2000, "ß", "日本", "\U0001f600", "\u202e",
    "\u2028", '"\\0"', '"\\x1b[2J"', '"a\\nb"', '"\\ud800"',
    "[]", "{}", "[1]", "[[[[[[1]]]]]]", "[0, 0]", "[1, 2, 3]", "[64, 64]", "[65536, 65536]", "{a: 1}", "{1: 2}",
    "{name: 3}", "{name: [unet]}", "{name: unet, name: unet}", "{name: resnet, blocks: 256}", "{~: 1}", "{[1]: 2}",
    "&a [*a]", "*b", "&a 1", "!!python/name:os.system", "!!binary aGk=", "!!set {a}", "!!int x", "!!str 1", "!x 1",
    "<<", "{<<: 5}", "{<<: {a: 1}}", "|\n a\n b", ">\n a", "'", '"', "[", "{", "a: b: c", "@", "`", "%", "- -", "? x",
    "#", "\t", "\x07", "\ufeff", "---", "...", "--- 1\n--- 2", "[" * 500, "{a: " * 500, "resnet18", "not_a_backbone",
)  # fmt: skip
PIECES = ("&a ", "*a", "!!map ", "!!x ", "<<: *a\n", "{", "}", "[", "]", ": ", "- ", "\n", "\n  ", "'", '"', "#", "|",
          "\t", "\x00", "\x1b", "\ufeff", "\x85", "\u2028", "%YAML 1.1\n---\n", "---\n", "...\n", "? ", "@",
          "9" * 400)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A recipe's name, the words after it, and the text of the file where there is one."""

    number: int
    name: str
    words: tuple[str, ...] = ()
    text: bytes | None = None

    def write(self) -> None:
        if self.text is not None:
            Path(FILE).write_bytes(self.text)


def make_case(number: int) -> Case:
    chance = random.Random(f"recipes {number}")
    make = chance.choice(KINDS)
    return make(number, chance)


@functools.cache
def resolved(name: str) -> dict[str, Any]:
    """A shipped recipe with all of its defaults."""
    return schema.load(name).dump()


def paths(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in content.items() if isinstance(content, dict) else ():
        yield (*path, key)
        yield from paths(value, (*path, key))


def odd_value(chance: random.Random) -> Any:
    """A value that a file may hold; from a text that is no YAML, that text."""
    text = chance.choice(TEXTS)
    try:
        return parse_yaml(text, "odd")
    except ValueError:
        return text


def place(content: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    copy = dict(content)
    if len(path) > 1:
        inner = copy.get(path[0])
        copy[path[0]] = place(inner if isinstance(inner, dict) else {}, path[1:], value)
    else:
        copy[path[0]] = value
    return copy


def overridden(number: int, chance: random.Random) -> Case:
    """A shipped recipe with a few odd overrides."""
    name = chance.choice(RECIPE_NAMES)
    known = list(paths(resolved(name)))
    words = []
    for _ in range(chance.randint(1, 4)):
        key = ".".join(chance.choice(known))
        if chance.random() < 0.1:
            key = chance.choice(
                ("", "a..b", "data", "stages", "method.generator.x", "x" * 3000, "a." * 3000 + "a")
            )
        words.append(f"{key}={chance.choice(TEXTS)}")
    return Case(number, name, tuple(words))


def changed(number: int, chance: random.Random) -> Case:
    """A file of a whole recipe with a few values replaced, removed or added."""
    content = resolved(chance.choice(RECIPE_NAMES))
    for _ in range(chance.randint(1, 3)):
        path = chance.choice(list(paths(content)))
        if chance.random() < 0.2:
            path = (*path, chance.choice(("x", "name", "extends", "weight", "a b", "x" * 300)))
        content = place(content, path, odd_value(chance))
    return Case(number, f"./{FILE}", text=json.dumps(content).encode())


def component(number: int, chance: random.Random) -> Case:
    """A method or a network of another kind in a recipe, with odd options."""
    content = resolved(chance.choice(RECIPE_NAMES))
    key = chance.choice((("method", "generator"), ("method", "discriminator"), ("method",)))
    name = chance.choice([*NETWORKS, *METHODS])
    options = {}
    for option in chance.sample(
        ("width", "levels", "layers", "blocks", "scales", "widths", "backbone", "norm"), 3
    ):
        options[option] = chance.choice(
            (1, 2, 12, 64, 256, 4096, [64] * 12, "batch", "resnet18", None)
        )
    kept = options if chance.random() < 0.7 else {}
    content = place(content, key, {"name": name, **kept})
    words = (f"data.unpaired={chance.choice(('true', 'false'))}",) if chance.random() < 0.3 else ()
    return Case(number, f"./{FILE}", words, json.dumps(content).encode())


def plausible(number: int, chance: random.Random) -> Case:
    """A shipped recipe with values that may be right, up to the largest ones."""
    words = chance.sample(
        (
            f"method.generator.width={chance.choice((1, 3, 64, 4096))}",
            f"method.generator.levels={chance.randint(2, 12)}",
            f"method.generator.blocks={chance.choice((1, 9, 256))}",
            f"method.generator.norm={chance.choice(('none', 'group', 'batch', 'sync_batch'))}",
            f"method.generator.spectral_norm={chance.choice(('true', 'false'))}",
            f"method.generator={chance.choice(('unet', 'resnet', 'spade', 'pretrained_unet', 'encoder_decoder'))}",
            f"method.discriminator.layers={chance.randint(1, 12)}",
            f"method.discriminator.width={chance.choice((1, 64, 4096))}",
            f"method.discriminator={chance.choice(('pixel', 'whole_image', 'projected', 'multiscale_patchgan'))}",
            f"method.more_discriminators=[{{network: {chance.choice(('patchgan', 'projected'))}}}]",
            f"method.augment=[{chance.choice(('color', 'cutout, color', ''))}]",
            f"method={chance.choice(list(METHODS))}",
            f"data.size=[{chance.choice((8, 64, 8192))},{chance.choice((8, 64, 8192))}]",
            "data.resize=null",
            f"data={chance.choice(('synthetic', '7', 'a/b'))}",
            f"data.labels={{{chance.choice(('left', 'label', 'image'))}: {chance.choice((2, 300, 65536))}}}",
            f"freeze=[{chance.choice(('generator', 'discriminator', 'generator.downs', 'x'))}]",
            "gradient_checkpointing=true",
            "stages=[{length: 8}, {length: 8, method: {generator: {width: 8}}}]",
            f"length={chance.choice(('1', '0.5 epochs', '1000000 epochs', '1000000000000'))}",
            f"checkpoint.every={chance.choice(('1', '1 image', '1000000 epochs'))}",
            "ema.half_life=null",
        ),
        chance.randint(1, 5),
    )
    return Case(number, chance.choice(RECIPE_NAMES), tuple(words))


def garbled(number: int, chance: random.Random) -> Case:
    """A recipe's text with pieces of YAML, random bytes, or lines in other places."""
    text = (ROOT / "recipes" / f"{chance.choice(RECIPE_NAMES)}.yaml").read_text(encoding="utf-8")
    for _ in range(chance.randint(1, 5)):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.choice((0, 0, 1, 5, 40)))
        text = text[:start] + chance.choice(PIECES) + text[end:]
    data = text.encode()
    if chance.random() < 0.3:
        start = chance.randrange(len(data) + 1)
        data = data[:start] + chance.randbytes(chance.randint(1, 20)) + data[start:]
    return Case(number, f"./{FILE}", text=data)


def bombed(number: int, chance: random.Random) -> Case:
    """Much from little: aliases, nesting, long lists and long texts."""
    levels, each = chance.randint(2, 30), chance.randint(2, 12)
    aliases = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * each)}]" for i in range(1, levels)]
    merges = [f"a{i}: &a{i} {{x{i}: *a{i - 1}, <<: *a{i - 1}}}" for i in range(1, levels)]
    texts = (
        "\n".join(["a0: &a0 [x]", *aliases]),
        "\n".join(["a0: &a0 {x: 1}", *merges]),
        "extends: quickstart\nstages: [" + "{length: 1}, " * chance.choice((2, 40, 3000)) + "]",
        "extends: quickstart\ninit_from: [" + "a, " * chance.choice((2, 9000, 30000)) + "]",
        "extends: quickstart\nmethod: {more_discriminators: ["
        + "{network: patchgan}, " * chance.choice((16, 17, 2000))
        + "]}",
        "extends: quickstart\nmethod: "
        + "{generator: " * chance.choice((20, 99, 2000))
        + "1"
        + "}" * 2000,
        "extends: "
        + chance.choice((f"./{FILE}", "[a]", "x" * 5000, "quickstart\nextends: quickstart")),
        "description: " + "x" * chance.choice((10**5, 10**6 + 1)),
        "extends: quickstart\nphases: {" + ", ".join(f"p{i}: {{lr: 1}}" for i in range(3000)) + "}",
        "extends: quickstart\ndata: {labels: {" + ", ".join(f"p{i}: 5" for i in range(4000)) + "}}",
    )
    return Case(number, f"./{FILE}", text=chance.choice(texts).encode())


def staged(number: int, chance: random.Random) -> Case:
    """Stages with odd changes."""
    content = resolved(chance.choice(RECIPE_NAMES))
    stages = []
    for _ in range(chance.randint(1, 3)):
        path = chance.choice(list(paths(content)))
        stages.append(
            chance.choice((place({}, path, odd_value(chance)), odd_value(chance), {"length": 8}))
        )
    content = {**content, "stages": stages}
    return Case(number, f"./{FILE}", text=json.dumps(content).encode())


KINDS: tuple[Callable[[int, random.Random], Case], ...] = (
    overridden, changed, component, plausible, plausible, garbled, bombed, staged,
)  # fmt: skip

"""Ways to damage a checkpoint, each of them seeded, for the tests that read one."""

import hashlib
import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Damage = Callable[[Path, random.Random], str]  # says what it did

VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**70, 10**400, 0.5, float("nan"), float("inf"), "", "80", "../../x", "\u001b[31m",
    [], [1, 2], {}, {"a": 1}, [[[[[]]]]],
)  # fmt: skip


def state_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return content


def write_state(folder: Path, content: Any) -> None:
    (folder / "state.json").write_text(json.dumps(content))


def seal(folder: Path) -> None:
    """Write the right SHA-256 of each file, so that the later checks are reached."""
    try:
        content = state_of(folder)
        for name in content["sha256"]:
            content["sha256"][name] = hashlib.sha256(
                (folder / f"{name}.safetensors").read_bytes()
            ).hexdigest()
        write_state(folder, content)
    except (OSError, ValueError, TypeError, KeyError):
        return


def tensor_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def _file(folder: Path, chance: random.Random) -> Path:
    return chance.choice(sorted(path for path in folder.rglob("*") if path.is_file()))


def flip_bytes(folder: Path, chance: random.Random) -> str:
    path = _file(folder, chance)
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 50))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return f"bytes of {path.name} flipped"


def cut(folder: Path, chance: random.Random) -> str:
    path = _file(folder, chance)
    content = path.read_bytes()
    path.write_bytes(content[: chance.choice((0, 1, 8, len(content) // 2, len(content) - 1))])
    return f"{path.name} cut"


def remove(folder: Path, chance: random.Random) -> str:
    path = _file(folder, chance)
    path.unlink()
    return f"{path.name} removed"


def replace_by_a_folder(folder: Path, chance: random.Random) -> str:
    path = _file(folder, chance)
    path.unlink()
    path.mkdir()
    return f"{path.name} is a folder"


def swap(folder: Path, chance: random.Random) -> str:
    first, second = chance.sample(tensor_files(folder), 2)
    content = first.read_bytes()
    shutil.copyfile(second, first)
    second.write_bytes(content)
    return f"{first.parent.name}/{first.name} and {second.parent.name}/{second.name} swapped"


def change_state(folder: Path, chance: random.Random) -> str:
    """Another value, or none, somewhere in state.json."""
    content = state_of(folder)
    place: Any = content
    path: list[Any] = []
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = chance.choice(keys)
        path.append(key)
        if not (isinstance(place[key], dict | list) and place[key]) or chance.random() < 0.3:
            break
        place = place[key]
    if isinstance(place, dict) and chance.random() < 0.2:
        del place[key]
        write_state(folder, content)
        return f"state.json without {path}"
    value = chance.choice(VALUES)
    place[key] = value
    write_state(folder, content)
    return f"state.json with {path} = {value!r:.40}"


def change_recipe(folder: Path, chance: random.Random) -> str:
    path = folder / "recipe.yaml"
    lines = path.read_text().splitlines()
    at = chance.randrange(len(lines))
    new = chance.choice(
        (
            "",
            "x",
            "a: [",
            "? !!python/object:os.system x",
            "width: 1.5",
            "\u0000",
            "- 1",
            "name: spade",
        )
    )
    lines[at] = lines[at].split(":")[0] + ": " + new if chance.random() < 0.5 else new
    path.write_text("\n".join(lines))
    return f"recipe.yaml, line {at + 1}: {lines[at]!r:.60}"


def change_tensors(folder: Path, chance: random.Random) -> str:
    """A tensor with NaN, of another shape or kind, with another name, or one more."""
    path = chance.choice(tensor_files(folder))
    tensors = load_file(path)
    key = chance.choice(sorted(tensors))
    changes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "NaN": lambda t: (
            t.masked_fill(torch.arange(t.numel()).view(t.shape) == 0, torch.nan)
            if t.is_floating_point()
            else t
        ),
        "infinite": lambda t: torch.full_like(t, torch.inf) if t.is_floating_point() else t,
        "one element more": lambda t: torch.cat([t.flatten(), t.flatten()[:1]]),
        "without elements": lambda t: t.flatten()[:0],
        "one dimension more": lambda t: t[None].clone(),
        "float64": lambda t: t.double(),
        "float8": lambda t: t.float().to(torch.float8_e4m3fn),
        "int64": lambda t: t.long(),
        "bool": lambda t: t.bool(),
        "negative": lambda t: -t.abs() - 1,
    }
    what = chance.choice([*changes, "missing", "renamed", "extra", "empty file"])
    if what in changes:
        tensors[key] = changes[what](tensors[key])
    elif what == "empty file":
        tensors = {}
    elif what == "extra":
        tensors["extra.weight"] = torch.zeros(3)
    else:
        moved = tensors.pop(key)
        if what == "renamed":
            tensors[f"{key}/../x"] = moved
    save_file(tensors, path)
    return f"{path.parent.name}/{path.name}: {key} {what}"


def change_header(folder: Path, chance: random.Random) -> str:
    """A header of safetensors that lies."""
    path = chance.choice(tensor_files(folder))
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    name = chance.choice(names)
    what = chance.choice(("length", "offsets", "shape", "dtype", "text", "twice", "deep"))
    if what == "length":
        path.write_bytes(
            struct.pack("<Q", chance.choice((10**11, 2**63, 2**64 - 1, 0, 1))) + content[8:]
        )
        return f"{path.name}: length of the header"
    changed = {
        "offsets": {**header[name], "data_offsets": [0, 2**40]},
        "shape": {**header[name], "shape": chance.choice(([2**62, 4], [-1], [0], [1] * 100))},
        "dtype": {
            **header[name],
            "dtype": chance.choice(("F4", "F8_E8M0", "BOOL", "I64", "OBJECT", "C64")),
        },
        "text": "x",
    }
    text = json.dumps({**header, name: changed.get(what, header[name])}).encode()
    if what == "twice":
        text = text[:-1] + b"," + json.dumps({name: header[name]}).encode()[1:]
    if what == "deep":
        text = b"[" * 100_000
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    return f"{path.name}: {what} of {name} in the header"


def change_json_whole(folder: Path, chance: random.Random) -> str:
    """A state.json of another kind altogether."""
    contents = (b"[" * 200_000, b"{" * 1000, b"\xff\xfe", b"[]", b"null", b"1" * 10_000, b'"x"', b"{}", b"\x00" * 100,
                b'{"a":' * 5000 + b"1" + b"}" * 5000)  # fmt: skip
    content = chance.choice(contents)
    (folder / "state.json").write_bytes(content)
    return f"state.json is {content[:10]!r}"


DAMAGES: tuple[Damage, ...] = (
    flip_bytes, cut, remove, replace_by_a_folder, swap, change_state, change_state, change_state, change_recipe,
    change_tensors, change_tensors, change_tensors, change_header, change_json_whole,
)  # fmt: skip

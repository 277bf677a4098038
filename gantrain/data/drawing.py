"""Labelled street fronts and "photographs" of them, drawn by the program: data for a first run.

The photograph is each class's colour times texture and light, plus noise. Colours stay near their
class's, so that a photograph tells its labels: nearest class colour judges a trained model.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gantrain.data.decode import Kind, encode, palette
from gantrain.data.shard_writer import Packed, locked, write_shards
from gantrain.data.shards import Field
from gantrain.data.street import CLASSES, IDS, Plan, smooth_noise, street

Array = NDArray[Any]

# class: colour in label maps, colour in photographs (before light and texture)
_COLOURS = {
    "sky": ((0, 130, 220), (158, 202, 240)),
    "wall": ((170, 60, 20), (208, 154, 112)),
    "roof": ((220, 20, 60), (152, 54, 48)),
    "trim": ((250, 200, 120), (238, 224, 198)),
    "window": ((0, 0, 160), (74, 108, 158)),
    "door": ((130, 0, 130), (98, 44, 24)),
    "balcony": ((90, 90, 90), (36, 38, 48)),
    "shop": ((0, 190, 170), (26, 124, 116)),
    "tree": ((60, 160, 0), (88, 134, 46)),
    "pavement": ((230, 60, 230), (150, 144, 140)),
}
PALETTE = [label for label, _ in _COLOURS.values()]  # RGB by class id
_LUMINANCE = np.array([0.299, 0.587, 0.114])
CLASS_COLOURS = [photo for _, photo in _COLOURS.values()]  # about the mean RGB by class id


def draw(index: int, height: int, width: int, seed: int) -> tuple[Array, Array]:
    """Street front number `index`: class ids (HW uint8) and its photograph (HW3 uint8, RGB).

    The same arguments always give the same picture. `height` and `width` are in pixels, 16 or more.
    """
    if min(height, width) < 16:
        raise ValueError(f"{height}x{width} is too small to draw, 16x16 is the least")
    random = np.random.Generator(np.random.Philox(key=[seed, index]))
    plan = Plan(height, width)
    street(plan, random)
    return plan.label, _photograph(plan, random)


def _blocks(plan: Plan, random: np.random.Generator, rise: float, run: float) -> Array:
    """Courses of blocks, every other one shifted by half a block: a shade each, pale joints."""
    y, x = plan.grid()
    course = np.floor(y / rise).astype(np.int32)
    along = x / np.float32(run) + np.float32(0.5) * (course % 2)
    block = along.astype(np.int32)
    shade = random.uniform(0.93, 1.05, 1024).astype(np.float32)[(course * 37 + block * 101) & 1023]
    pixel = 128 / plan.height
    joint = ((y % rise) < pixel) | ((along - block) * run < pixel)
    return np.where(joint & (rise > 2.5 * pixel), np.float32(1.09), shade)


def _texture(plan: Plan, random: np.random.Generator) -> Array:
    """Each pixel's factor (HW) from the matter it shows."""
    y, x = plan.grid()
    fine, coarse = smooth_noise(random, plan, 1.6), smooth_noise(random, plan, 22)
    cloud = smooth_noise(random, plan, 34) * 0.7 + smooth_noise(random, plan, 12) * 0.3
    plaster = random.random(256) < 0.4
    bricks = _blocks(plan, random, 2.9, 7.5)
    tiles = _blocks(plan, random, 2.4, 3.2) - 0.12 * ((y % 2.4) / 2.4 - 0.5)
    slabs = _blocks(plan, random, 4, 11)
    wall = np.where(plaster[plan.house], 1.02 + 0.05 * (fine - 0.5), bricks)
    factors = {
        "sky": 0.94 + 0.10 * cloud + 0.0004 * y,
        "wall": wall * (0.97 + 0.06 * coarse),
        "roof": tiles,
        "trim": 0.97 + 0.06 * fine,
        "window": 0.92 + 0.16 * coarse,
        "door": 0.9 + 0.2 * smooth_noise(random, plan, 2.5),
        "balcony": np.where((x % 2.2) < 1.1, 1.35, 0.7) + 0 * y,
        "shop": 0.97 + 0.06 * fine,
        "tree": 0.78 + 0.46 * fine,
        "pavement": slabs * (0.97 + 0.06 * fine),
    }
    return np.choose(plan.label, [factors[name].astype(np.float32) for name in CLASSES])


def _photograph(plan: Plan, random: np.random.Generator) -> Array:
    y, x = plan.grid()
    tint = random.uniform(0.97, 1.03, 3)
    colours = np.tile(CLASS_COLOURS * tint, (256, 1, 1)).astype(np.float32)  # house, class, RGB
    colours[:, IDS["wall"]] *= random.uniform(0.95, 1.05, (256, 3))
    sun = random.uniform(-0.05, 0.05)  # light from the left or the right
    light = 1 + sun * (2 * x / plan.right - 1) + 0.03 * (0.5 - y / 128)
    photograph = colours[plan.house, plan.label]  # HW3
    photograph *= (plan.shade * _texture(plan, random) * light)[..., None]
    photograph += 2.2 * random.standard_normal(photograph.shape, np.float32)  # of the sensor
    return np.clip(np.rint(photograph, out=photograph), 0, 255).astype(np.uint8)


def write_synthetic(
    folder: str | Path,
    samples: int,
    height: int,
    width: int,
    fields: Mapping[str, tuple[Kind, int, int | None]],
    *,
    source: str,
    target: str,
    seed: int,
) -> None:
    """Write drawn street fronts as a data set in `folder`, unless it is there already.

    fields: (kind, channels, classes) by name. An image `target` is the photograph, a label one the
    class ids; an image on the other side of a label target is the photograph too, and otherwise
    the label map in colours. Images have 3 channels, or 1 (luminance); ids fold into `classes` by
    remainder. Two processes may call it at once. Raises ValueError for fields it can't draw.
    """
    for name, (kind, channels, _) in fields.items():
        if channels not in ((1, 3) if kind == "image" else (1,)):
            raise ValueError(
                f"data=synthetic: {name} has {channels} channels; drawn are images of 1 or 3 and "
                "labels of 1; name real data instead"
            )
    assert {source, target} == set(fields), (source, target, fields)
    colours = {name: _palette(classes) for name, (_, _, classes) in fields.items()}
    photographs = {target} if fields[target][0] == "image" else {source}
    counts = {name: np.zeros(len(colours[name]), np.int64) for name in fields}

    def sample(index: int) -> tuple[dict[str, Array], Packed]:
        ids, photograph = draw(index, height, width, seed)
        arrays = {}
        for name, (kind, channels, _) in fields.items():
            folded = ids % min(len(colours[name]), len(CLASSES))
            if kind == "label":
                arrays[name] = folded
                continue
            rgb = photograph if name in photographs else np.array(PALETTE, np.uint8)[ids]
            arrays[name] = rgb if channels == 3 else np.rint(rgb @ _LUMINANCE).astype(np.uint8)
        members = {name: ("png", encode(array, "png")) for name, array in arrays.items()}
        return arrays, Packed(f"{index:06d}", members)

    folder = Path(folder).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        locked(folder.parent / f".{folder.name}.drawing", wait=True),
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
    ):
        if (folder / "index.json").is_file():
            return
        packed = []
        for arrays, one in pool.map(sample, range(samples)):
            packed.append(one)
            for name, (kind, _, _) in fields.items():
                if kind == "label":
                    counts[name] += np.bincount(arrays[name].ravel(), minlength=len(counts[name]))
        described = {
            name: Field(
                member=name,
                kind=kind,
                channels=channels,
                classes=len(colours[name]) if kind == "label" else None,
                label_counts=_counts(counts[name]) if kind == "label" else None,
                palette=colours[name] if kind == "label" else None,
                min_size=(height, width),
                max_size=(height, width),
            )
            for name, (kind, channels, _) in fields.items()
        }
        write_shards(packed, folder, described)


def _counts(pixels: Array) -> dict[int, int]:
    return {number: count for number, count in enumerate(pixels.tolist()) if count}


def _palette(classes: int | None) -> list[tuple[int, int, int]]:
    if classes is None or classes == len(PALETTE):
        return PALETTE
    return PALETTE[:classes] + palette(classes)[len(PALETTE) :]

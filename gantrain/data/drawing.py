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

from gantrain.data.decode import Array, Kind, encode, palette
from gantrain.data.shard_writer import Packed, locked, write_shards
from gantrain.data.shards import Field
from gantrain.data.street import CLASSES, Plan, street

# class: colour in label maps, colour in photographs, share of noise, width of stones (0: none)
_LOOKS = {
    "sky": ((0, 130, 220), (158, 202, 240), 0.02, 0),
    "wall": ((170, 60, 20), (208, 154, 112), 0.04, 7.5),
    "roof": ((220, 20, 60), (152, 54, 48), 0.04, 4.5),
    "trim": ((250, 200, 120), (238, 224, 198), 0.06, 0),
    "window": ((0, 0, 160), (74, 108, 158), 0.1, 0),
    "door": ((130, 0, 130), (98, 44, 24), 0.2, 0),
    "balcony": ((90, 90, 90), (36, 38, 48), 0.1, 0),
    "shop": ((0, 190, 170), (26, 124, 116), 0.06, 0),
    "tree": ((60, 160, 0), (88, 134, 46), 0.46, 0),
    "pavement": ((230, 60, 230), (150, 144, 140), 0.06, 11),
}
PALETTE = [_LOOKS[name][0] for name in CLASSES]  # RGB by class id
CLASS_COLOURS = [_LOOKS[name][1] for name in CLASSES]  # about the mean RGB by class id
_ROUGHNESS, _STONES = np.array([_LOOKS[name][2:] for name in CLASSES], np.float32).T
_LUMINANCE = np.array([0.299, 0.587, 0.114])


def draw(index: int, height: int, width: int, seed: int) -> tuple[Array, Array]:
    """Street front number `index`: class ids (HW uint8) and its photograph (HW3 uint8, RGB).

    The same arguments always give the same picture. `height` and `width` are in pixels, 16 or more.
    """
    if min(height, width) < 16:
        raise ValueError(f"{height}x{width} is too small to draw, 16x16 is the least")
    plan = Plan(height, width, np.random.Generator(np.random.Philox(key=[seed, index])))
    street(plan)
    return plan.label, _photograph(plan)


def _photograph(plan: Plan) -> Array:
    random, label = plan.random, plan.label
    colours = np.tile(CLASS_COLOURS * random.uniform(0.97, 1.03, 3), (256, 1, 1))  # by house
    colours[:, CLASSES.index("wall")] *= random.uniform(0.95, 1.05, (256, 3))
    sun = random.uniform(-0.05, 0.05)  # light from the left or the right
    light = 1 + sun * (2 * plan.x / plan.right - 1) + 0.1 * (plan.noise(22) - 0.5)
    texture = 1 + _ROUGHNESS[label] * (plan.noise(1.6) - 0.5)
    texture += (label == CLASSES.index("balcony")) * np.where(plan.x % 2.2 < 1.1, 0.35, -0.3)
    run = _STONES[label]
    run[(random.random(256) < 0.4)[plan.house]] = 0  # these houses are plastered
    texture[run > 0] *= _stones(plan, np.maximum(run, 1))[run > 0]
    photograph = colours.astype(np.float32)[plan.house, label]  # HW3
    photograph *= (plan.shade * texture * light)[..., None]
    photograph += 2.2 * random.standard_normal(photograph.shape, np.float32)  # of the sensor
    return np.clip(np.rint(photograph), 0, 255).astype(np.uint8)


def _stones(plan: Plan, run: Array) -> Array:
    """Courses of blocks, every other one shifted by half a block: a shade each, pale joints."""
    rise = 0.4 * run
    course = (plan.y / rise).astype(np.int32)
    along = plan.x / run + np.float32(0.5) * (course % 2)
    block = along.astype(np.int32)
    shade: Array = plan.random.uniform(0.93, 1.03, 1024)[(course * 37 + block * 101) % 1024]
    joint = (plan.y - course * rise < 1 / plan.scale) | ((along - block) * run < 1 / plan.scale)
    shade[joint & (rise * plan.scale > 2.5)] = 1.08  # not where all pixels would be joints
    return shade


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

    def sample(index: int) -> tuple[Packed, Array]:
        ids, photograph = draw(index, height, width, seed)
        members = {}
        for name, (kind, channels, classes) in fields.items():
            if kind == "label":
                array = ids % min(classes or len(CLASSES), len(CLASSES))
            elif name == target or fields[target][0] == "label":
                array = photograph
            else:
                array = np.array(PALETTE, np.uint8)[ids]
            if array.ndim == 3 and channels == 1:
                array = np.rint(array @ _LUMINANCE).astype(np.uint8)
            members[name] = ("png", encode(array, "png"))
        return Packed(f"{index:06d}", members), np.bincount(ids.ravel(), minlength=len(CLASSES))

    folder = Path(folder).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        locked(folder.parent / f".{folder.name}.drawing", wait=True),
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
    ):
        if not (folder / "index.json").is_file():
            packed, pixels = zip(*pool.map(sample, range(samples)), strict=True)
            size, described = (height, width), {}
            for name, (kind, channels, classes) in fields.items():
                told = _labels(classes or len(CLASSES), sum(pixels)) if kind == "label" else {}
                described[name] = Field(
                    member=name, kind=kind, channels=channels, min_size=size, max_size=size, **told
                )
            write_shards(packed, folder, described)


def _labels(classes: int, pixels: Array) -> dict[str, Any]:
    """What a field of class ids tells besides, given the pixels of each drawn class."""
    folded = [int(pixels[i::classes].sum()) for i in range(min(classes, len(pixels)))]
    counts = {i: count for i, count in enumerate(folded) if count}
    colours = PALETTE[:classes] + palette(classes)[len(PALETTE) :]
    return {"classes": classes, "label_counts": counts, "palette": colours}

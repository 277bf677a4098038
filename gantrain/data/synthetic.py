"""Labelled street fronts and "photographs" of them, drawn by the program: data for a first run.

A photograph's colours stay near their class's: the class of the nearest one judges a model.
"""

from pathlib import Path
from typing import Any

import numpy as np

from gantrain.core.files import create_once
from gantrain.core.threads import map_in_order
from gantrain.data.decode import Array, encode
from gantrain.data.label_colours import palette
from gantrain.data.shard_writer import PackedSample, write_shards
from gantrain.data.shards import Field

CLASSES = ("sky", "wall", "roof", "trim", "window", "door", "balcony", "shop", "tree", "pavement")
PALETTE = [  # colours in label maps (RGB) by class id
    *[(0, 130, 220), (170, 60, 20), (220, 20, 60), (250, 200, 120), (0, 0, 160)],
    *[(130, 0, 130), (90, 90, 90), (0, 190, 170), (60, 160, 0), (230, 60, 230)],
]
CLASS_COLOURS = [  # about the mean colours in photographs (RGB) by class id
    *[(158, 202, 240), (208, 154, 112), (152, 54, 48), (238, 224, 198), (74, 108, 158)],
    *[(98, 44, 24), (36, 38, 48), (26, 124, 116), (88, 134, 46), (150, 144, 140)],
]

_MOST_PIXELS = 2**23  # 4096x2048; a set of larger pictures takes more than minutes to draw


def draw(index: int, height: int, width: int, seed: int) -> tuple[Array, Array, Array]:
    """Return street front `index`: class ids, a photograph, and an id for each shape.

    The ids are HW uint8, the photograph is HW3 uint8 (RGB), and the shapes' ids are HW uint16. The
    same arguments always give the same picture. `height` and `width` are in pixels, 16 or more.
    """
    if min(height, width) < 16:
        raise ValueError(f"{height}x{width} is too small to draw, 16x16 is the least")
    if height * width > _MOST_PIXELS:
        raise ValueError(
            f"{height}x{width} is too large to draw, {_MOST_PIXELS:,} pixels are the most"
        )
    random = np.random.Generator(np.random.Philox(key=[seed, index]))
    label, tint = np.zeros((height, width), np.uint8), np.ones((height, width, 3))
    shape, shapes = np.zeros((height, width), int), 0

    def box(name: str, *sides: float, more: bool = False) -> None:
        """Paint over (x0, y0, x1, y1); x grows to the right, y down, in 1/128 of the height.

        more: of the shape before.
        """
        nonlocal shapes
        shapes += not more
        left, top, right, bottom = (max(0, round(side * height / 128)) for side in sides)
        label[top:bottom, left:right], shape[top:bottom, left:right] = CLASSES.index(name), shapes
        tint[top:bottom, left:right] = random.uniform(0.93, 1.07) * random.uniform(0.97, 1.03, 3)

    end, ground, x1 = width * 128 / height, random.uniform(112, 116), -random.uniform(0, 30)
    while x1 < end:  # a house from x0 to x1
        x0, x1 = x1, x1 + random.uniform(46, 84)
        storeys, storey, columns = (
            random.integers(3, 6),
            random.uniform(17, 21),
            round((x1 - x0) / 17),
        )
        top, slope, step = (
            ground - storeys * storey - 5,
            random.choice([0.4, 1.5]),
            (x1 - x0) / columns,
        )
        for y in range(15):
            box("roof", x0 + slope * y, top - y - 1, x1 - slope * y, top - y, more=y > 0)
        box("wall", x0, top, x1, ground)
        box(random.choice(["wall", "shop"]), x0 + 1.5, ground - storey - 2, x1 - 1.5, ground)
        box("trim", x0 - 1, top, x1 + 1, top + 3)
        railed, door = random.integers(1, storeys + 2), random.integers(columns)
        for floor, column in np.ndindex(storeys, columns):
            left, right, foot = (
                x0 + (column + 0.25) * step,
                x0 + (column + 0.75) * step,
                ground - floor * storey,
            )
            name, sill = ("door", foot) if (floor, column) == (0, door) else ("window", foot - 6)
            box("trim", left - 1.4, foot - 18, right + 1.4, sill + 1.4)
            box(name, left, foot - 16.6, right, sill)
            if floor == railed:
                box("balcony", left - 2.5, sill - 5, right + 2.5, sill)
    box("pavement", 0, ground, end, 129)
    for middle in random.uniform(0.06 * end, 0.94 * end, random.poisson(end / 160)):
        box("tree", middle - 1.4, 70, middle + 1.4, ground + 4)
        for x, y in random.normal((middle, 70), 5, (24, 2)):  # tufts
            box("tree", x - 4, y - 4, x + 4, y + 4, more=True)
    photograph = np.array(CLASS_COLOURS)[label] * tint + random.normal(0, 3, tint.shape)
    return label, np.clip(np.rint(photograph), 0, 255).astype(np.uint8), shape.astype(np.uint16)


def write_synthetic(
    out: Path,
    samples: int,
    height: int,
    width: int,
    fields: dict[str, int | None],
    seed: int,
    instances: str | None = None,
) -> None:
    """Write drawn street fronts as a data set in the folder `out`, unless it is there already.

    fields: by name, the source first; the number of classes of a label map, None for an image. The
    last image is the photograph; any other image is the label map in colours. Ids fold into fewer
    classes by remainder. instances: a further field, with an id for each shape. Two processes may
    call it at the same time.
    """
    images = [name for name, classes in fields.items() if classes is None]
    photograph_name = images[-1] if images else None
    size: dict[str, Any] = {"min_size": (height, width), "max_size": (height, width)}
    described: dict[str, Field] = {}
    for name, classes in fields.items():
        content: dict[str, Any] = {"channels": 3}
        if classes:
            colours = palette(classes, PALETTE)
            content = {"kind": "label", "channels": 1, "classes": classes, "palette": colours}
        described[name] = Field(member=name, **size, **content)
    if instances:
        content = {"kind": "instances", "channels": 1, "dtype": "uint16"}
        described[instances] = Field(member=instances, **size, **content)
    map_colours = np.array(PALETTE, np.uint8)

    def sample(index: int) -> PackedSample:
        ids, photograph, shapes = draw(index, height, width, seed)
        arrays = {instances: shapes} if instances else {}
        for name, classes in fields.items():
            if classes:
                arrays[name] = ids % min(classes, len(CLASSES))
            elif name == photograph_name:
                arrays[name] = photograph
            else:
                arrays[name] = map_colours[ids]
        members = {name: ("png", encode(array, "png")) for name, array in arrays.items()}
        return PackedSample(f"{index:06d}", members)

    def write() -> None:
        write_shards(map_in_order(sample, range(samples)), out, described)

    create_once(out, "index.json", write)

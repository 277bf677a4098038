"""Labelled street fronts and "photographs" of them, drawn by the program: data for a first run.

A photograph's colours stay near their class's: the class of the nearest one judges a model.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gantrain.data.decode import Array, encode, palette, resize
from gantrain.data.shard_writer import Packed, once, write_shards
from gantrain.data.shards import Field

# class: colour in label maps (RGB), colour in photographs, share of noise
_LOOKS = {
    "sky": ((0, 130, 220), (158, 202, 240), 0.02),
    "wall": ((170, 60, 20), (208, 154, 112), 0.05),
    "roof": ((220, 20, 60), (152, 54, 48), 0.05),
    "trim": ((250, 200, 120), (238, 224, 198), 0.06),
    "window": ((0, 0, 160), (74, 108, 158), 0.15),
    "door": ((130, 0, 130), (98, 44, 24), 0.2),
    "balcony": ((90, 90, 90), (36, 38, 48), 0.1),
    "shop": ((0, 190, 170), (26, 124, 116), 0.06),
    "tree": ((60, 160, 0), (88, 134, 46), 0.5),
    "pavement": ((230, 60, 230), (150, 144, 140), 0.06),
}
CLASSES = tuple(_LOOKS)
PALETTE = [look[0] for look in _LOOKS.values()]  # RGB by class id
CLASS_COLOURS = [look[1] for look in _LOOKS.values()]  # about the mean RGB by class id
_ROUGHNESS = np.array([look[2] for look in _LOOKS.values()], np.float32)


def draw(index: int, height: int, width: int, seed: int) -> tuple[Array, Array]:
    """Street front number `index`: class ids (HW uint8) and its photograph (HW3 uint8, RGB).

    The same arguments always give the same picture. `height` and `width` are in pixels, 16 or more.
    """
    if min(height, width) < 16:
        raise ValueError(f"{height}x{width} is too small to draw, 16x16 is the least")
    street = _Street(height, width, np.random.Generator(np.random.Philox(key=[seed, index])))
    return street.label, street.photograph()


class _Street:
    """Things painted over one another, far ones first; x grows to the right, y down.

    All measures are in 1/128 of the height, so that a street looks alike at any size.
    """

    def __init__(self, height: int, width: int, random: np.random.Generator) -> None:
        self.random, self.scale = random, height / 128  # pixels of one unit
        self.y, self.x = ((at + 0.5) / self.scale for at in np.ogrid[:height, :width])  # H1, 1W
        self.label = np.zeros((height, width), np.uint8)
        self.shade = np.ones((height, width, 3), np.float32)  # factor on the class's colour
        right, ground, end = width / self.scale, random.uniform(112, 116), -random.uniform(0, 30)
        while end < right:
            start, end = end, end + random.uniform(46, 84)
            self.house(start, end, ground)
        self.box("pavement", 0, ground, right, 129)
        for middle in random.uniform(0.06 * right, 0.94 * right, random.poisson(right / 160)):
            self.tree(middle, ground + random.uniform(2, 6))

    def paint(self, name: str, where: Any, shade: float | Array = 1.0) -> None:
        self.label[where], self.shade[where] = CLASSES.index(name), shade

    def box(self, name: str, *sides: float, shade: float | Array = 1.0) -> None:
        """A rectangle (x0, y0, x1, y1); one that is too thin for a pixel may be missing."""
        left, top, right, bottom = (max(0, round(side * self.scale)) for side in sides)
        self.paint(name, np.s_[top:bottom, left:right], shade)

    def framed(self, name: str, x: float, half: float, y0: float, y1: float) -> None:
        self.box("trim", x - half - 1.4, y0 - 1.4, x + half + 1.4, y1 + 1.4)
        self.box(name, x - half, y0, x + half, y1, shade=self.random.uniform(0.9, 1.1))

    def house(self, x0: float, x1: float, ground: float) -> None:
        random = self.random
        storeys, storey = random.integers(2, 5), random.uniform(16, 20)
        first = ground - random.uniform(24, 28)  # the floor above the ground floor
        top = first - storeys * storey - 4
        up = (top - self.y) / random.uniform(12, 18)  # 0 at the eaves, 1 at the ridge
        across = np.abs(self.x - (x0 + x1) / 2) / (x1 - x0) + random.choice([0.12, 0.46]) * up
        self.paint("roof", (up > 0) & (up < 1) & (across < 0.5), random.uniform(0.92, 1.08))
        self.box("wall", x0, top, x1, ground, shade=random.uniform(0.94, 1.06, 3))
        if random.random() < 0.5:
            self.box("shop", x0 + 1.5, first, x1 - 1.5, ground)
        for y in (top, first):
            self.box("trim", x0 - 1, y, x1 + 1, y + 3)
        columns = max(2, round((x1 - x0) / random.uniform(15, 19)))
        middles = np.linspace(x0, x1, 2 * columns + 1)[1::2].tolist()
        half = (x1 - x0) / columns * random.uniform(0.21, 0.27)  # of a window's width
        railed, door = random.integers(0, storeys + 2), random.choice(middles)
        for middle in middles:
            for floor in range(storeys):
                sill = first - floor * storey - 5
                self.framed("window", middle, half, sill - 0.6 * storey, sill)
                if floor == railed:
                    self.box("balcony", middle - half - 2.5, sill - 5, middle + half + 2.5, sill)
            self.framed("window", middle, half, first + 9, ground - 7)
        self.framed("door", door, 4.8, first + 7, ground)

    def tree(self, middle: float, foot: float) -> None:
        top = foot - self.random.uniform(34, 58)
        self.box("tree", middle - 1.4, top, middle + 1.4, foot, shade=0.8)
        for x, y in self.random.normal((middle, top), 5, (8, 2)):  # tufts
            tuft = np.hypot(self.x - x, self.y - y) < self.random.uniform(5, 9)
            self.paint("tree", tuft, self.random.uniform(0.94, 1.1))

    def noise(self, cell: float) -> Array:
        """Smooth noise (HW, about 0..1) whose features are about `cell` wide."""
        height, width = self.label.shape
        rows, columns = (2 + int(size / self.scale / cell) for size in (height, width))
        return resize(self.random.random((rows, columns, 1), np.float32), height, width)[..., 0]

    def photograph(self) -> Array:
        light = 1 + 0.1 * (self.noise(22) - 0.5) + _ROUGHNESS[self.label] * (self.noise(1.6) - 0.5)
        ledges = np.isin(self.label, [CLASSES.index("trim"), CLASSES.index("balcony")])
        light[np.roll(ledges, max(1, round(2 * self.scale)), axis=0) & ~ledges] *= 0.86  # shadows
        photograph = np.array(CLASS_COLOURS, np.float32)[self.label] * self.shade * light[..., None]
        photograph += 2.2 * self.random.standard_normal(photograph.shape, np.float32)
        return np.clip(np.rint(photograph), 0, 255).astype(np.uint8)


def write_synthetic(
    folder: Path, samples: int, height: int, width: int, fields: Mapping[str, int | None], seed: int
) -> None:
    """Write drawn street fronts as a data set in `folder`, unless it is there already.

    fields: by name, source first, the classes of a label map, None for an image. The last image is
    the photograph; another one is the label map in colours. Ids fold into fewer classes by
    remainder. Two processes may call it at once.
    """
    photographed = [None, *(name for name, classes in fields.items() if classes is None)][-1]
    described, size = {}, (height, width)
    for name, classes in fields.items():
        about: dict[str, Any] = {"channels": 3}
        if classes:
            about = {"kind": "label", "channels": 1, "classes": classes, "palette": palette(classes, PALETTE)}
        described[name] = Field(member=name, min_size=size, max_size=size, **about)

    def sample(index: int) -> Packed:
        ids, photograph = draw(index, height, width, seed)
        members = {}
        for name, classes in fields.items():
            array = photograph if name == photographed else np.array(PALETTE, np.uint8)[ids]
            array = ids % min(classes, len(CLASSES)) if classes else array
            members[name] = ("png", encode(array, "png"))
        return Packed(f"{index:06d}", members)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        once(folder, lambda: write_shards(pool.map(sample, range(samples)), folder, described))

"""Synthetic data for a first run: labelled street fronts and "photographs" of them.

The colours of a photograph stay near the colours of their classes, so that the class of the nearest
colour can judge a model.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gantrain.core import formats
from gantrain.core.errors import UserError
from gantrain.core.files import create_once
from gantrain.core.threads import map_in_order
from gantrain.data.decode import encode
from gantrain.data.field import Field, check_fields
from gantrain.data.index import Index, Shard
from gantrain.data.kinds.kind import Array
from gantrain.data.label_colours import palette
from gantrain.data.shard_writer import PackedSample, write_shards
from gantrain.data.synthetic_inputs import describe_input, draw_input

CLASSES = ("sky", "wall", "roof", "trim", "window", "door", "balcony", "shop", "tree", "pavement")
PALETTE = [  # colours in label maps (RGB) by class id
    *[(0, 130, 220), (170, 60, 20), (220, 20, 60), (250, 200, 120), (0, 0, 160)],
    *[(130, 0, 130), (90, 90, 90), (0, 190, 170), (60, 160, 0), (230, 60, 230)],
]
CLASS_COLOURS = [  # about the mean colours in photographs (RGB) by class id
    *[(158, 202, 240), (208, 154, 112), (152, 54, 48), (238, 224, 198), (74, 108, 158)],
    *[(98, 44, 24), (36, 38, 48), (26, 124, 116), (88, 134, 46), (150, 144, 140)],
]

_HEIGHT = 128  # of a street front, in the units of the drawing
_MOST_PIXELS = 2**23  # 4096x2048; a set of larger pictures takes more than minutes to draw


def draw(index: int, height: int, width: int, seed: int) -> tuple[Array, Array, Array]:
    """Return street front `index`: class ids, a photograph, and an id for each shape.

    The ids are HW uint8, the photograph is HW3 uint8 (RGB), and the shapes' ids are HW uint16. The
    same arguments always give the same picture. `height` and `width` are in pixels, 16 or more.
    """
    _check_size(height, width)
    random = np.random.Generator(np.random.Philox(key=[seed, index]))
    canvas = _Canvas(height, width, random)
    end = width * _HEIGHT / height
    ground = random.uniform(112, 116)
    right = -random.uniform(0, 30)
    while right < end:
        left = right
        right = left + random.uniform(46, 84)
        _draw_house(canvas, left, right, ground)
    canvas.box("pavement", (0, ground, end, 129))
    for middle in random.uniform(0.06 * end, 0.94 * end, random.poisson(end / 160)):
        _draw_tree(canvas, middle, ground)
    noise = random.normal(0, 3, canvas.tint.shape)
    photograph = np.array(CLASS_COLOURS)[canvas.label] * canvas.tint + noise
    photograph = np.clip(np.rint(photograph), 0, 255).astype(np.uint8)
    return canvas.label, photograph, canvas.shape.astype(np.uint16)


def _check_size(height: int, width: int) -> None:
    """Raise UserError for a size that cannot be drawn."""
    if min(height, width) < 16:
        raise UserError(f"{height}x{width} is too small to draw, 16x16 is the least")
    if height * width > _MOST_PIXELS:
        raise UserError(
            f"{height}x{width} is too large to draw, {_MOST_PIXELS:,} pixels are the most"
        )


class _Canvas:
    """A street front that is painted box by box.

    label: class ids, HW. tint: by which a class's colour is multiplied, HW3. shape: an id for each
    shape, HW. random: draws the tint of each box.
    """

    def __init__(self, height: int, width: int, random: np.random.Generator) -> None:
        self.label = np.zeros((height, width), np.uint8)
        self.tint = np.ones((height, width, 3))
        self.shape = np.zeros((height, width), int)
        self.random = random
        self._shapes = 0

    def box(self, name: str, corners: tuple[float, ...], *, is_same_shape: bool = False) -> None:
        """Paint a box of the class `name` over what is there.

        corners: x0, y0, x1, y1 in 1/128 of the height; x grows to the right, y down. is_same_shape:
        the box belongs to the shape of the box before it.
        """
        if not is_same_shape:
            self._shapes += 1
        height = len(self.label)
        left, top, right, bottom = (max(0, round(side * height / _HEIGHT)) for side in corners)
        area = np.s_[top:bottom, left:right]
        self.label[area] = CLASSES.index(name)
        self.shape[area] = self._shapes
        brightness = self.random.uniform(0.93, 1.07)
        self.tint[area] = brightness * self.random.uniform(0.97, 1.03, 3)


def _draw_house(canvas: _Canvas, left: float, right: float, ground: float) -> None:
    """Draw a house with its roof, windows, a door, and sometimes balconies or a shop."""
    random = canvas.random
    storeys = random.integers(3, 6)
    storey_height = random.uniform(17, 21)
    columns = round((right - left) / 17)
    column_width = (right - left) / columns
    top = ground - storeys * storey_height - 5
    slope = random.choice([0.4, 1.5])
    for y in range(15):
        row = (left + slope * y, top - y - 1, right - slope * y, top - y)
        canvas.box("roof", row, is_same_shape=y > 0)
    canvas.box("wall", (left, top, right, ground))
    ground_floor = random.choice(["wall", "shop"])
    canvas.box(ground_floor, (left + 1.5, ground - storey_height - 2, right - 1.5, ground))
    canvas.box("trim", (left - 1, top, right + 1, top + 3))
    balcony_floor = random.integers(1, storeys + 2)
    door_column = random.integers(columns)
    for floor, column in np.ndindex(storeys, columns):
        x0 = left + (column + 0.25) * column_width
        x1 = left + (column + 0.75) * column_width
        foot = ground - floor * storey_height
        name = "window"
        sill = foot - 6
        if floor == 0 and column == door_column:
            name = "door"
            sill = foot
        canvas.box("trim", (x0 - 1.4, foot - 18, x1 + 1.4, sill + 1.4))
        canvas.box(name, (x0, foot - 16.6, x1, sill))
        if floor == balcony_floor:
            canvas.box("balcony", (x0 - 2.5, sill - 5, x1 + 2.5, sill))


def _draw_tree(canvas: _Canvas, middle: float, ground: float) -> None:
    """Draw a trunk and tufts of leaves around its top."""
    canvas.box("tree", (middle - 1.4, 70, middle + 1.4, ground + 4))
    for x, y in canvas.random.normal((middle, 70), 5, (24, 2)):
        canvas.box("tree", (x - 4, y - 4, x + 4, y + 4), is_same_shape=True)


def write_synthetic(
    out: Path,
    samples: int,
    height: int,
    width: int,
    fields: dict[str, int | None],
    seed: int,
    inputs: Mapping[str, str] | None = None,
) -> None:
    """Write drawn street fronts as a data set in the folder `out`, unless it is there already.

    fields: by name, the source first; the number of classes of a label map, None for an image. The
    last image is the photograph; any other image is the label map in colours. Ids fold into fewer
    classes by remainder. inputs: the kinds of further fields, by name. Two processes may call it at
    the same time.
    """
    inputs = inputs or {}
    images = [name for name, classes in fields.items() if classes is None]
    photograph_name = images[-1] if images else None
    map_colours = np.array(PALETTE, np.uint8)

    def sample(index: int) -> PackedSample:
        ids, photograph, shapes = draw(index, height, width, seed)
        arrays: dict[str, Array] = {}
        for number, (name, kind) in enumerate(inputs.items()):
            arrays[name] = draw_input(kind, ids, shapes, (seed, index, number))
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
        described = _describe_fields(height, width, fields, inputs or {})
        write_shards(map_in_order(sample, range(samples)), out, described)

    create_once(out, "index.json", write)


def describe_synthetic(
    samples: int,
    height: int,
    width: int,
    fields: dict[str, int | None],
    inputs: Mapping[str, str] | None = None,
) -> Index:
    """Return an index that describes the data set of `write_synthetic` without drawing it.

    The arguments are those of `write_synthetic`. The fingerprint is zeros, and all samples are in
    one shard of one byte. Raises UserError where the data set could not be written.
    """
    _check_size(height, width)
    described = _describe_fields(height, width, fields, inputs or {})
    check_fields(described)
    return Index(
        format=formats.INDEX,
        samples=samples,
        fingerprint="0" * 64,
        shards=[Shard(name="s-000000.tar", bytes=1, samples=samples)],
        fields=described,
    )


def _describe_fields(
    height: int, width: int, fields: dict[str, int | None], inputs: Mapping[str, str]
) -> dict[str, Field]:
    """Return the fields of synthetic data; the arguments are those of `write_synthetic`."""
    size: dict[str, object] = {"min_size": (height, width), "max_size": (height, width)}
    described: dict[str, Field] = {}
    for name, classes in fields.items():
        content: dict[str, object] = {"channels": 3}
        if classes:
            colours = palette(classes, PALETTE)
            content = {"kind": "label", "channels": 1, "classes": classes, "palette": colours}
        described[name] = Field(member=name, **size, **content)
    for name, kind in inputs.items():
        described[name] = Field(member=name, **size, **describe_input(kind))
    return described

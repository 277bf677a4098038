"""The plan of a street front: which class each pixel shows, and how bright its surface is.

Rectangles are painted over one another, far things first. All measures are in 1/128 of the height,
so that a street looks alike at any size.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CLASSES = (
    "sky",
    "wall",
    "roof",
    "trim",
    "window",
    "door",
    "balcony",
    "shop",
    "tree",
    "pavement",
)
IDS = {name: number for number, name in enumerate(CLASSES)}


@dataclass
class Plan:
    """What stands where. Coordinates in 1/128 of the height; x grows to the right, y down."""

    height: int
    width: int
    label: Array = field(init=False)  # HW uint8
    shade: Array = field(init=False)  # HW, factor on the colour
    house: Array = field(init=False)  # HW uint8, the number of the house

    def __post_init__(self) -> None:
        self.label = np.zeros((self.height, self.width), np.uint8)
        self.shade = np.ones((self.height, self.width), np.float32)
        self.house = np.zeros((self.height, self.width), np.uint8)

    @property
    def right(self) -> float:
        return 128 * self.width / self.height

    def grid(self) -> tuple[Array, Array]:
        """y (H1) and x (1W) of the pixels' centres."""
        y, x = np.ogrid[: self.height, : self.width]
        unit = np.float32(128 / self.height)
        return (y + np.float32(0.5)) * unit, (x + np.float32(0.5)) * unit

    def box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        """The pixels of a rectangle; one that is too thin for a pixel may be empty."""
        scale = self.height / 128
        rows = slice(max(0, round(y0 * scale)), max(0, round(y1 * scale)))
        columns = slice(max(0, round(x0 * scale)), max(0, round(x1 * scale)))
        return rows, columns

    def paint(
        self, name: str, x0: float, y0: float, x1: float, y1: float, shade: float = 1.0
    ) -> tuple[slice, slice]:
        box = self.box(x0, y0, x1, y1)
        self.label[box] = IDS[name]
        self.shade[box] = shade
        return box

    def shadow(self, x0: float, y0: float, x1: float, depth: float, least: float) -> None:
        """Darken what lies below y0, fading out over `depth`."""
        box = self.box(x0, y0, x1, y0 + depth)
        below = self.shade[box]
        rows = len(below)
        below *= least + (1 - least) / max(rows, 1) * np.arange(rows, dtype=np.float32)[:, None]


def street(plan: Plan, random: np.random.Generator) -> None:
    """Fill the plan with houses, a pavement and trees."""
    ground = random.uniform(112, 116)
    x, number = -random.uniform(0, 30), 0
    while x < plan.right:
        width = random.uniform(46, 84)
        number += 1
        _house(plan, random, number, x, x + width, ground)
        x += width
    plan.paint("pavement", 0, ground, plan.right, 129)
    plan.shadow(0, ground, plan.right, 3, 0.86)
    plan.paint("pavement", 0, ground + 8, plan.right, ground + 9, 0.88)  # kerb
    for _ in range(random.poisson(plan.right / 160)):
        _tree(plan, random, random.uniform(0.06, 0.94) * plan.right, ground + random.uniform(2, 6))


def _house(
    plan: Plan, random: np.random.Generator, number: int, x0: float, x1: float, ground: float
) -> None:
    storeys = int(random.integers(2, 5))
    storey = random.uniform(19, 23) if storeys < 4 else random.uniform(16, 18.5)
    shop = random.random() < 0.5
    first = ground - random.uniform(24, 28)  # the floor above the ground floor
    top = first - storeys * storey - 4
    _roof(plan, random, x0, x1, top)
    body = plan.paint("wall", x0, top, x1, ground)
    plan.house[body] = number % 256
    plan.shade[:, body[1].start : body[1].start + 1][body[0]] *= 0.9  # the seam between houses
    columns = max(2, round((x1 - x0) / random.uniform(15, 19)))
    step = (x1 - x0) / columns
    arched, wide = random.random() < 0.35, random.uniform(0.42, 0.54)
    railed = int(random.integers(0, storeys + 2))  # this floor has balconies, if there is one
    for floor in range(storeys):
        sill = first - floor * storey - 5
        for column in range(columns):
            left = x0 + step * (column + 0.5 - wide / 2)
            tall = storey * (0.62 if floor < storeys - 1 else 0.54)
            _window(plan, random, left, sill - tall, left + step * wide, sill, arched)
            if floor == railed:
                _balcony(plan, left - 2.5, left + step * wide + 2.5, sill)
    for y, out, thick in ((top, 1.5, 3.5), (first, 0.0, 2.0)):
        plan.paint("trim", x0 - out, y, x1 + out, y + thick)
        plan.shadow(x0 - out, y + thick, x1 + out, 5 if out else 3, 0.84)
    door = int(random.integers(0, columns))
    if shop:
        _shop(plan, x0, x1, first + 3, ground, random)
    for column in range(columns):
        middle = x0 + step * (column + 0.5)
        if column == door:
            _door(plan, middle, min(step * 0.62, 11), first + 7, ground)
        elif not shop:
            half = step * wide / 2
            _window(plan, random, middle - half, first + 7, middle + half, ground - 6, arched)


def _roof(plan: Plan, random: np.random.Generator, x0: float, x1: float, eaves: float) -> None:
    rise, kind = random.uniform(10, 17), random.choice(["mansard", "gable", "stepped", "flat"])
    for _ in range(int(random.integers(0, 3))):
        left = random.uniform(x0 + 5, x1 - 9)  # a chimney
        plan.paint("wall", left, eaves - rise - 4, left + 4, eaves, 0.9)
        plan.paint("trim", left - 0.8, eaves - rise - 5, left + 4.8, eaves - rise - 3.6)
    if kind == "flat":
        return
    y, x = plan.grid()
    height = (eaves - y) / rise  # 0 at the eaves, 1 at the ridge
    if kind == "stepped":
        height = np.ceil(height * 5) / 5
    inset = (0.16 if kind == "mansard" else 0.46) * (x1 - x0) * height
    inside = (y < eaves) & (y > eaves - rise) & (x > x0 + inset) & (x < x1 - inset)
    plan.label[inside] = IDS["roof"]
    plan.shade[inside] = 1
    if kind == "mansard":
        for middle in np.linspace(x0, x1, int(random.integers(2, 4)) + 2)[1:-1]:
            plan.paint("trim", middle - 4, eaves - 10.5, middle + 4, eaves)
            _glass(plan, random, middle - 2.6, eaves - 8.6, middle + 2.6, eaves)


def _glass(
    plan: Plan, random: np.random.Generator, x0: float, y0: float, x1: float, y1: float
) -> tuple[slice, slice]:
    """Panes that mirror the sky above and show a dark room below, with glazing bars."""
    box = plan.paint("window", x0, y0, x1, y1)
    y, x = (_ramp(size) for size in plan.shade[box].shape)
    plan.shade[box] = (1 - 0.12 * y)[:, None] + random.uniform(-0.12, 0.12) * x
    middle, bar = (x0 + x1) / 2, (x0 + x1) / 2 + 0.9
    for cross in (
        plan.box(middle, y0, bar, y1),
        plan.box(x0, y0 * 0.65 + y1 * 0.35, x1, y0 * 0.65 + y1 * 0.35 + 0.9),
    ):
        plan.shade[cross] = 1.24
    plan.shadow(x0, y0, x1, 1.6, 0.8)
    return box


def _ramp(size: int) -> Array:
    """From -1 to 1 in `size` steps."""
    return (2 * np.arange(size, dtype=np.float32) + 1) / max(size, 1) - 1


def _window(
    plan: Plan,
    random: np.random.Generator,
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    arched: bool,
) -> None:
    frame = 1.2
    before = plan.box(x0 - frame, y0 - frame, x1 + frame, y1)
    saved = (plan.label[before].copy(), plan.shade[before].copy()) if arched else None
    plan.paint("trim", x0 - frame, y0 - frame, x1 + frame, y1)
    _glass(plan, random, x0, y0, x1, y1)
    if saved:
        all_y, all_x = plan.grid()
        y, x = all_y[before[0]], all_x[:, before[1]]
        half = (x1 - x0) / 2
        for outer, name in ((0.0, "trim"), (frame, None)):
            radius = half + outer
            above = y < y0 + half
            cut = above & ((x - x0 - half) ** 2 + (y - y0 - half) ** 2 > radius**2)
            plan.label[before][cut] = saved[0][cut] if name is None else IDS[name]
            plan.shade[before][cut] = saved[1][cut] if name is None else 1
    plan.paint("trim", x0 - 2.2, y1, x1 + 2.2, y1 + 1.5)
    plan.shadow(x0 - 2.2, y1 + 1.5, x1 + 2.2, 2.5, 0.86)


def _balcony(plan: Plan, x0: float, x1: float, sill: float) -> None:
    plan.paint("balcony", x0, sill - 5, x1, sill + 0.5)
    plan.paint("trim", x0 - 0.6, sill + 0.5, x1 + 0.6, sill + 2)
    plan.shadow(x0, sill + 2, x1, 4, 0.84)


def _door(plan: Plan, middle: float, width: float, y0: float, ground: float) -> None:
    half = width / 2
    plan.paint("trim", middle - half - 1.4, y0 - 1.4, middle + half + 1.4, ground)
    plan.paint("door", middle - half, y0, middle + half, ground)
    tall = ground - y0
    for side in (-1, 1):
        for low, high in ((0.12, 0.42), (0.5, 0.9)):
            inner, outer = sorted((middle + side * half * 0.22, middle + side * half * 0.8))
            panel = plan.box(inner, y0 + low * tall, outer, y0 + high * tall)
            plan.shade[panel] = 0.8
    plan.shade[plan.box(middle - 0.3, y0, middle + 0.3, ground)] = 0.7
    plan.shadow(middle - half, y0, middle + half, 2, 0.75)


def _shop(
    plan: Plan, x0: float, x1: float, y0: float, ground: float, random: np.random.Generator
) -> None:
    plan.paint("shop", x0 + 1.5, y0, x1 - 1.5, ground, 0.92)
    panes = max(1, round((x1 - x0) / 24))
    for left in np.linspace(x0 + 1.5, x1 - 1.5, panes + 1)[:-1]:
        right = left + (x1 - x0 - 3) / panes
        _glass(plan, random, left + 2, y0 + 8, right - 2, ground - 5)
    y, x = plan.grid()
    scallop = 9.5 + 1.2 * np.sin(x * (np.pi / 2.2)) ** 2
    awning = (x > x0 + 1) & (x < x1 - 1) & (y > y0 + 2) & (y < y0 + scallop)
    plan.label[awning] = IDS["shop"]
    stripes = np.where(np.floor(x / 4.4) % 2 == 0, 1.22, 0.86)
    plan.shade[awning] = (stripes * (1.06 - 0.02 * (y - y0)))[awning]
    plan.shadow(x0 + 3, y0 + 11, x1 - 3, 4, 0.8)


def _tree(plan: Plan, random: np.random.Generator, middle: float, foot: float) -> None:
    tall, spread = random.uniform(34, 58), random.uniform(9, 14)
    plan.shadow(middle - spread, foot, middle + spread, 3, 0.86)
    plan.paint("tree", middle - 1.4, foot - tall * 0.9, middle + 1.4, foot, 0.8)
    y, x = plan.grid()
    edge = spread * (1 + 0.35 * (smooth_noise(random, plan, 4) - 0.5))
    for _ in range(7):
        cx, cy = middle + random.normal(0, spread * 0.42), foot - tall + random.normal(0, 5)
        distance = np.hypot(x - cx, (y - cy) * 0.9) / (edge * random.uniform(0.5, 0.8))
        crown = distance < 1
        plan.label[crown] = IDS["tree"]
        plan.shade[crown] = (1.08 - 0.16 * (y - cy) / spread)[:, [0] * plan.width][crown]


def smooth_noise(random: np.random.Generator, plan: Plan, cell: float) -> Array:
    """Smooth noise (HW, 0..1) whose features are about `cell` wide."""
    y, x = (axis.ravel() / np.float32(cell) for axis in plan.grid())
    values = random.random((int(y[-1]) + 2, int(x[-1]) + 2), np.float32)
    row, column = y.astype(int), x.astype(int)
    fy, fx = (y - row)[:, None], x - column
    rows = values[row] * (1 - fy) + values[row + 1] * fy  # interpolated downwards: H, grid width
    mixed: Array = rows[:, column] * (1 - fx) + rows[:, column + 1] * fx
    return mixed

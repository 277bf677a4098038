"""The plan of a street front: which class each pixel shows, and how bright its surface is.

Things are painted over one another, far ones first. All measures are in 1/128 of the height, so
that a street looks alike at any size.
"""

import numpy as np

from gantrain.data.decode import Array, resize

CLASSES = ("sky", "wall", "roof", "trim", "window", "door", "balcony", "shop", "tree", "pavement")


class Plan:
    """What stands where: x grows to the right, y down. `random` decides everything."""

    def __init__(self, height: int, width: int, random: np.random.Generator) -> None:
        self.random = random
        self.scale = height / 128  # pixels of one unit
        self.right = width / self.scale
        y, x = np.ogrid[:height, :width]
        self.y = ((y + 0.5) / self.scale).astype(np.float32)  # H1, the pixels' centres
        self.x = ((x + 0.5) / self.scale).astype(np.float32)  # 1W
        self.label = np.zeros((height, width), np.uint8)
        self.shade = np.ones((height, width), np.float32)  # factor on the class's colour
        self.house = np.zeros((height, width), np.uint8)  # a number that picks its house's looks

    def box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        """The pixels of a rectangle; one that is too thin for a pixel may be empty."""
        left, top, right, bottom = (max(0, round(at * self.scale)) for at in (x0, y0, x1, y1))
        return slice(top, bottom), slice(left, right)

    def paint(self, name: str, *sides: float, shade: float = 1.0, arch: bool = False) -> None:
        """Paint a rectangle (x0, y0, x1, y1), with a round top for an `arch`."""
        box, (x0, y0, x1, _) = self.box(*sides), sides
        half = (x1 - x0) / 2
        rise = np.minimum(self.y[box[0]] - y0 - half, 0) if arch else 0
        inside = np.hypot(self.x[:, box[1]] - x0 - half, rise) <= half if arch else ...
        self.label[box][inside] = CLASSES.index(name)
        self.shade[box][inside] = shade

    def shadow(self, x0: float, y: float, x1: float, depth: float) -> None:
        """Darken what lies below y, fading out over `depth`."""
        below = self.shade[self.box(x0, y, x1, y + depth)]
        below *= np.linspace(0.86, 1, len(below), dtype=np.float32)[:, None]

    def noise(self, cell: float) -> Array:
        """Smooth noise (HW, about 0..1) whose features are about `cell` wide."""
        height, width = self.label.shape
        rows, columns = (2 + int(size / self.scale / cell) for size in (height, width))
        return resize(self.random.random((rows, columns, 1), np.float32), height, width)[..., 0]


def street(plan: Plan) -> None:
    """Fill the plan with houses, a pavement and trees."""
    random, right = plan.random, plan.right
    ground, x = random.uniform(112, 116), -random.uniform(0, 30)
    while x < right:
        width = random.uniform(46, 84)
        _house(plan, x, x + width, ground)
        x += width
    plan.paint("pavement", 0, ground, right, 129)
    plan.shadow(0, ground, right, 3)
    for middle in random.uniform(0.06 * right, 0.94 * right, random.poisson(right / 160)):
        _tree(plan, middle, ground + random.uniform(2, 6))


def _house(plan: Plan, x0: float, x1: float, ground: float) -> None:
    random = plan.random
    storeys = random.integers(2, 5)
    storey = random.uniform(19, 23) if storeys < 4 else random.uniform(16, 18.5)
    first = ground - random.uniform(24, 28)  # the floor above the ground floor
    top = first - storeys * storey - 4
    _roof(plan, x0, x1, top)
    plan.paint("wall", x0, top, x1, ground)
    plan.house[plan.box(x0, top, x1, ground)] = random.integers(256)
    plan.shade[plan.box(x0, top, x0 + 1, ground)] = 0.9  # the seam between houses
    columns = max(2, round((x1 - x0) / random.uniform(15, 19)))
    middles = np.linspace(x0, x1, 2 * columns + 1)[1::2]
    half = (x1 - x0) / columns * random.uniform(0.21, 0.27)  # of a window's width
    arch = random.random() < 0.35
    railed = random.integers(0, storeys + 2)  # this floor has balconies, if there is one
    for floor in range(storeys):
        sill = first - floor * storey - 5
        for middle in middles:
            _window(plan, middle, half, sill - 0.6 * storey, sill, arch)
            if floor == railed:
                left, right = middle - half - 2.5, middle + half + 2.5
                plan.paint("balcony", left, sill - 5, right, sill + 0.5)
                plan.paint("trim", left - 0.6, sill + 0.5, right + 0.6, sill + 2)
                plan.shadow(left, sill + 2, right, 4)
    for y, out, thick in ((top, 1.5, 3.5), (first, 0.0, 2.0)):
        plan.paint("trim", x0 - out, y, x1 + out, y + thick)
        plan.shadow(x0 - out, y + thick, x1 + out, 4)
    shop, door = random.random() < 0.5, random.integers(columns)
    if shop:
        _shop(plan, x0 + 1.5, x1 - 1.5, first + 3, ground)
    for column, middle in enumerate(middles):
        if column == door:
            _door(plan, middle, first + 7, ground)
        elif not shop:
            _window(plan, middle, half, first + 7, ground - 6, arch)


def _roof(plan: Plan, x0: float, x1: float, eaves: float) -> None:
    rise, slant = plan.random.uniform(10, 17), plan.random.choice([0.16, 0.46])
    for left in plan.random.uniform(x0 + 5, x1 - 9, plan.random.integers(0, 3)):  # chimneys
        plan.paint("wall", left, eaves - rise - 4, left + 4, eaves, shade=0.9)
    height = (eaves - plan.y) / rise  # 0 at the eaves, 1 at the ridge
    across = np.abs(plan.x - (x0 + x1) / 2) / (x1 - x0) + slant * height
    inside = (height > 0) & (height < 1) & (across < 0.5)
    plan.label[inside], plan.shade[inside] = CLASSES.index("roof"), 1
    if slant < 0.3:  # room for dormers
        for middle in np.linspace(x0, x1, plan.random.integers(4, 6))[1:-1]:
            _window(plan, middle, 2.8, eaves - 9, eaves - 1)


def _window(plan: Plan, x: float, half: float, y0: float, y1: float, arch: bool = False) -> None:
    plan.paint("trim", x - half - 1.2, y0 - 1.2, x + half + 1.2, y1, arch=arch)
    light = plan.random.uniform(0.9, 1.1)
    plan.paint("window", x - half, y0, x + half, y1, shade=light, arch=arch)
    cross = 0.65 * y0 + 0.35 * y1
    for bar in ((x, y0, x + 0.9, y1), (x - half, cross, x + half, cross + 0.9)):
        plan.shade[plan.box(*bar)] = 1.24
    plan.paint("trim", x - half - 2.2, y1, x + half + 2.2, y1 + 1.5)  # sill
    plan.shadow(x - half - 2.2, y1 + 1.5, x + half + 2.2, 2.5)


def _door(plan: Plan, x: float, y0: float, ground: float) -> None:
    plan.paint("trim", x - 6.2, y0 - 1.4, x + 6.2, ground)
    plan.paint("door", x - 4.8, y0, x + 4.8, ground)
    for left in (x - 4, x + 1):  # panels
        plan.paint("door", left, y0 + 2, left + 3, ground - 2, shade=0.8)


def _shop(plan: Plan, x0: float, x1: float, y0: float, ground: float) -> None:
    plan.paint("shop", x0, y0, x1, ground, shade=0.92)
    edges = np.linspace(x0, x1, 2 * max(1, round((x1 - x0) / 24)) + 1)
    for x in edges[1::2]:
        _window(plan, x, edges[1] - x0 - 3, y0 + 8, ground - 5)
    for stripe, left in enumerate(np.arange(x0, x1 - 4, 4)):  # awning
        plan.paint("shop", left, y0 + 2, left + 4, y0 + 10, shade=0.86 if stripe % 2 else 1.2)
    plan.shadow(x0, y0 + 10, x1, 4)


def _tree(plan: Plan, middle: float, foot: float) -> None:
    tall, spread = plan.random.uniform(34, 58), plan.random.uniform(9, 14)
    plan.shadow(middle - spread, foot, middle + spread, 3)
    plan.paint("tree", middle - 1.4, foot - tall * 0.9, middle + 1.4, foot, shade=0.8)
    ragged = spread * (0.8 + 0.4 * plan.noise(4))
    for _ in range(7):  # tufts
        x, y = plan.random.normal((middle, foot - tall), (spread * 0.42, 5))
        tuft = np.hypot(plan.x - x, plan.y - y) < plan.random.uniform(0.5, 0.8) * ragged
        plan.label[tuft], plan.shade[tuft] = CLASSES.index("tree"), plan.random.uniform(0.94, 1.1)

"""Colours in which maps of class ids are shown."""

import colorsys
from collections.abc import Sequence

from gantrain.data.kinds.kind import Colour

_GOLDEN_RATIO = 0.618034  # hues that differ by it never come close to their neighbours'
_SATURATIONS = (0.85, 0.5, 0.7)
_VALUES = (0.95, 0.65)


def palette(classes: int, given: Sequence[Colour] = ()) -> list[Colour]:
    """Return a colour (RGB, 0..255) for each class id: those given, then others that differ well.

    Without given colours class 0 is black.
    """
    colours = list(given[:classes]) or [(0, 0, 0)]
    for i in range(len(colours), classes):
        hue = i * _GOLDEN_RATIO % 1
        saturation = _SATURATIONS[i % len(_SATURATIONS)]
        value = _VALUES[i % len(_VALUES)]
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colours

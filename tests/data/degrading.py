"""Pictures to degrade, and their degradations by name."""

import zlib
from typing import Any

import numpy as np

from gantrain.core.rng import Purpose, random_numbers
from gantrain.data.degradations.degradation import Degraded, Image
from gantrain.data.degradations.degradation_table import DEGRADATIONS, build_degradation


def a_picture(height: int = 64, width: int = 96, channels: int = 3) -> Image:
    """Return smooth waves with some noise, in [0, 1]."""
    random = np.random.default_rng(0)
    rows = np.arange(height)[:, None, None]
    columns = np.arange(width)[:, None]
    phases = random.uniform(0, 6, channels)
    waves = 0.5 + 0.35 * np.sin(rows / 7 + columns / 11 + phases)
    picture = waves + random.normal(0, 0.05, waves.shape)
    return picture.clip(0, 1).astype(np.float32)


def degrade(config: Any, image: Image, *, seed: int = 0, position: int = 0) -> Degraded:
    random = random_numbers(seed, position, Purpose.DEGRADATION)
    return build_degradation(config).degrade(image, random)


def checksum(degraded: Degraded) -> int:
    """Return a number that differs where any bit of the image or of the mask differs."""
    content = degraded.image.tobytes()
    if degraded.mask is not None:
        content += degraded.mask.tobytes()
    return zlib.crc32(content)


def all_checksums() -> list[int]:
    return [checksum(degrade(name, a_picture(), position=7)) for name in DEGRADATIONS]

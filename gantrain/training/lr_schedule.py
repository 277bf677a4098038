"""The learning rate as a function of images seen."""

import math


def rate(name: str, images_seen: int, total: int, decay_fraction: float, warmup: int) -> float:
    """The factor on the base rate: rises over `warmup` images, falls in the last `decay_fraction`.

    `linear` and `cosine` reach 0 at `total` images; `constant` never falls.
    """
    factor = min(1.0, (images_seen + 1) / warmup) if warmup else 1.0
    start = total * (1 - decay_fraction)
    if name == "constant" or images_seen <= start:
        return factor
    progress = min(1.0, (images_seen - start) / (total - start))
    return factor * (1 - progress if name == "linear" else 0.5 * (1 + math.cos(math.pi * progress)))

"""Tables of metrics by name. A distance of sets is one function and one line here.

`FAMILY_EXTRACTOR`, such as `fd_squeezenet`, applies a family's distance to any extractor's
features.
"""

from collections.abc import Callable

from gantrain.core.errors import UserError
from gantrain.metrics import image_statistics, set_distances
from gantrain.metrics.extractors import is_network
from gantrain.metrics.features import Features
from gantrain.metrics.paired import LPIPS, PAIRED

Distance = Callable[[Features, Features], float]

FAMILIES: dict[str, Distance] = {
    "fd": set_distances.frechet,
    "kd": set_distances.kernel,
    "precision": set_distances.precision,
    "recall": set_distances.recall,
    "density": set_distances.density,
    "coverage": set_distances.coverage,
}
# name -> (distance, extractor)
SETS: dict[str, tuple[Distance, str]] = {
    "fid": (set_distances.frechet, "inception"),
    "kid": (set_distances.kernel, "inception"),
    "inception_score": (set_distances.inception_score, "inception_logits"),
    "inception_score_deviation": (set_distances.inception_score_deviation, "inception_logits"),
    "swd": (set_distances.sliced_wasserstein, "patches"),
    "spectrum": (set_distances.spectrum, "radial_spectrum"),
    "histogram": (set_distances.histogram, "histogram"),
    "diversity": (set_distances.diversity, "thumbnails"),
}
WEIGHTFREE = {
    "radial_spectrum": image_statistics.radial_spectrum,
    "histogram": image_statistics.histogram,
    "thumbnails": image_statistics.thumbnails,
}
RANDOM = tuple(f"random{seed}" for seed in range(10))
# Names that only the network of the papers may bear.
PUBLISHED = ("fid", "kid", "inception_score", "inception_score_deviation")
POOLED = ("psnr_pooled", "copy_index")  # computed from sums over the whole set
MEASURED = ("cycle_error",)  # by a method itself
SEGMENTATION = ("miou_unet", "pixel_accuracy_unet", "class_accuracy_unet")

# The first words of the names of metrics whose larger values are better. Code from outside adds to
# it.
LARGER_IS_BETTER = {
    "psnr",
    "ssim",
    "ms",
    "precision",
    "recall",
    "density",
    "coverage",
    "inception",
    "diversity",
    "copy",
    "miou",
    "pixel",
    "class",
}


def of_set(name: str) -> tuple[Distance, str] | None:
    """Return the distance and the extractor of a metric of sets; None for other names."""
    if name in SETS:
        return SETS[name]
    family, _, extractor = name.partition("_")
    if family in FAMILIES and (extractor in RANDOM or is_network(extractor)):
        return FAMILIES[family], extractor
    return None


def takes_weights(name: str) -> bool:
    """Return whether `evaluate.weights` may give a file under that name."""
    return name in (*LPIPS, "unet") or is_network(name)


def larger_is_better(name: str) -> bool:
    """Return whether larger values of a metric are better."""
    return name.partition("_")[0] in LARGER_IS_BETTER and not name.endswith("_deviation")


def check(name: str) -> str:
    """Return the name. Raises UserError, which lists all names, for one of no metric."""
    others = (*PAIRED, *POOLED, *LPIPS, *MEASURED, *SEGMENTATION)
    if name in others or of_set(name):
        return name
    families = ", ".join(f"{family}_NET" for family in FAMILIES)
    raise UserError(
        f"allowed: {', '.join([*others, *SETS])}; {families}, where NET is inception, "
        "squeezenet, random0 to random9, a network of timm, or torchvision/ and one of torchvision"
    )
